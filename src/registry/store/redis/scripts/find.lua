-- 8 kind, 9 index
local id = redis.call('HGET', prefix .. 'index:' .. ARGV[8], ARGV[9])
if not id then return answer() end
local stored = redis.call('HMGET', prefix .. 'document:' .. ARGV[8] .. ':' .. id,
  'revision', 'indexes', 'body')
if not stored[1] then return answer(id) end
return answer(id, stored[1], stored[2], stored[3])
