-- 8 kind, 9 the least id in ZRANGEBYLEX's form, 10 how many
local ids = redis.call('ZRANGEBYLEX', prefix .. 'ids:' .. ARGV[8], ARGV[9], '+',
  'LIMIT', '0', ARGV[10])
local listed = {}
for place, id in ipairs(ids) do
  local stored = redis.call('HMGET', prefix .. 'document:' .. ARGV[8] .. ':' .. id,
    'revision', 'indexes', 'body')
  listed[place] = {id, stored[1], stored[2], stored[3]}
end
return answer(listed)
