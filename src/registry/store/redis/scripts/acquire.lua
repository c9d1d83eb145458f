-- 8 name, 9 holder, 10 time to live
local lease = prefix .. 'lease:' .. ARGV[8]
local held = live(lease, 'holder', 'fence')
if held and held[2] ~= ARGV[9] then return answer() end
local fence = held and held[3] or whole(redis.call('HINCRBY', key.meta, 'fence', '1'))
keep(lease, tonumber(ARGV[10]), 'holder', ARGV[9], 'fence', fence)
return answer(fence)
