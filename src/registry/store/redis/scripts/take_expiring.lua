-- 8 key
local entry = live(prefix .. 'expiring:' .. ARGV[8], 'value')
if not entry then return answer() end
redis.call('DEL', prefix .. 'expiring:' .. ARGV[8])
return answer(entry[2])
