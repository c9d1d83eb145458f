-- 8 key, 9 window
local counter = prefix .. 'count:' .. ARGV[8]
if live(counter) then return answer(whole(redis.call('HINCRBY', counter, 'count', '1'))) end
keep(counter, tonumber(ARGV[9]), 'count', '1')
return answer('1')
