-- 8 name, 9 holder
local lease = prefix .. 'lease:' .. ARGV[8]
local held = kept(lease, 'holder')
if held and held[2] == ARGV[9] then redis.call('DEL', lease) end
return answer()
