-- 8 kind, 9 id
local stored = redis.call('HMGET', prefix .. 'document:' .. ARGV[8] .. ':' .. ARGV[9],
  'revision', 'indexes', 'body')
if not stored[1] then return answer() end
return answer(ARGV[9], stored[1], stored[2], stored[3])
