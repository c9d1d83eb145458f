-- 10 the last revision that was looked at, '' before the first; 11 how many
local before = tonumber(ARGV[10])
local entries = redis.call('XRANGE', key.feed, whole((before or -1) + 1) .. '-0', '+',
  'COUNT', ARGV[11])
local oldest = oldest_notice()
for _, entry in ipairs(entries) do
  local number, part = string.match(entry[1], '^(%d+)-(%d+)$')
  local its = tonumber(number)
  -- What was looked at may have been trimmed away since.
  if before and its ~= before + 1 and its ~= oldest then
    say(key.feed, ': there is a hole between ', whole(before), ' and ', number)
  end
  if part ~= '0' then say(key.feed, ': ', entry[1], ' is no revision') end
  if its > revision then say(key.feed, ': ', entry[1], ' is ahead of the registry') end
  local named = fields(entry)
  if not named.kind or not named.id or not named.tag then
    say(key.feed, ': ', entry[1], ' lacks a field')
  end
  before = its
end
if #entries < tonumber(ARGV[11]) and before and before < revision then
  say(key.feed, ': it ends at ', whole(before), ', but the registry is at ', whole(revision))
end
return answer(lines, whole(#entries), before and whole(before) or '')
