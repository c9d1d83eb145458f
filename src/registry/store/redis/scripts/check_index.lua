-- 10 kind, 11 cursor, 12 about how many
local page = redis.call('HSCAN', prefix .. 'index:' .. ARGV[10], ARGV[11], 'COUNT', ARGV[12])
for place = 1, #page[2], 2 do
  local index, id = page[2][place], page[2][place + 1]
  local full = prefix .. 'document:' .. ARGV[10] .. ':' .. id
  local stored = redis.call('HMGET', full, 'revision', 'indexes')
  local has_it = false
  for _, own in ipairs(indexes_of(stored[2]) or {}) do has_it = has_it or own == index end
  if not has_it then
    say(prefix, 'index:', ARGV[10], ': ', index, ' leads to ', id,
      stored[1] and ', which does not have it' or ', which is not there')
  end
end
return answer(lines, page[1])
