-- 10 name, 11 first minute, 12 last minute, 13 how many at most
local first = math.max(tonumber(ARGV[11]), first_kept)
local last = math.min(tonumber(ARGV[12]), last_kept)
local minutes = redis.call('ZRANGEBYSCORE', prefix .. 'series:' .. ARGV[10],
  whole(first), whole(last), 'LIMIT', '0', ARGV[13])
local buckets = {}
for place, minute in ipairs(minutes) do
  local bucket = prefix .. 'bucket:' .. minute .. ':' .. ARGV[10]
  buckets[place] = {minute, redis.call('HGETALL', bucket)}
end
return answer(buckets)
