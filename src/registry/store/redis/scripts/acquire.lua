-- 8 name, 9 holder, 10 time to live
local lease = prefix .. 'lease:' .. ARGV[8]
local held = kept(lease, 'holder', 'fence')
local is_ours = held and held[2] == ARGV[9]
if held and not is_ours and now_ms < tonumber(held[1]) then return answer() end
-- One that has ended, and that nobody else has had since, is its holder's still.
local fence = is_ours and held[3] or whole(redis.call('HINCRBY', key.meta, 'fence', '1'))
keep(lease, tonumber(ARGV[10]), 'holder', ARGV[9], 'fence', fence)
return answer(fence)
