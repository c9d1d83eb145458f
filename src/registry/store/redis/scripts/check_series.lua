-- 10 name, 11 first minute, 12 how many
local series = prefix .. 'series:' .. ARGV[10]
local minutes = redis.call('ZRANGEBYSCORE', series, ARGV[11], '+inf', 'LIMIT', '0', ARGV[12])
local last = 0
for _, minute in ipairs(minutes) do
  local score = tonumber(redis.call('ZSCORE', series, minute))
  last = math.max(last, score)
  if whole(score) ~= minute then
    say(series, ': ', minute, ' is at ', whole(score))
  -- An older one may have gone by itself: no bucket is kept for less than a day.
  elseif score >= minute_now - 1440
    and redis.call('EXISTS', prefix .. 'bucket:' .. minute .. ':' .. ARGV[10]) == 0 then
    say(series, ': the bucket of ', minute, ' is not there')
  end
end
return answer(lines, whole(#minutes), whole(last))
