-- The last two: the key that says that a batch was merged, and for how long it is known.
local merged = prefix .. 'expiring:' .. ARGV[#ARGV - 1]
if live(merged) then return answer() end
keep(merged, tonumber(ARGV[#ARGV]), 'value', '')
