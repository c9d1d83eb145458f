-- Which minutes' buckets are kept. 8 minutes back, 9 minutes ahead
local GRACE_MS = 60000
local minute_now = math.floor(now_ms / 60000)
local first_kept = math.max(minute_now - tonumber(ARGV[8]), 0)
local last_kept = minute_now + tonumber(ARGV[9])
