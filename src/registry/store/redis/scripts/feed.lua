-- 8 the last known revision, 9 the next, 10 how many
local after = tonumber(ARGV[8])
local first = redis.call('XRANGE', key.feed, '-', '+', 'COUNT', '1')[1]
local is_all_there = after == revision
if first then
  local oldest = tonumber(string.match(first[1], '^%d+'))
  is_all_there = oldest <= after + 1 and after <= revision
end
local notices = {}
if tonumber(ARGV[10]) > 0 then
  local entries = redis.call('XRANGE', key.feed, ARGV[9] .. '-0', '+', 'COUNT', ARGV[10])
  for place, entry in ipairs(entries) do
    local named = fields(entry)
    notices[place] = {string.match(entry[1], '^%d+'), named.kind or false, named.id or false}
  end
end
return answer(is_all_there and '' or 'gap', notices)
