-- 10 fields that a bucket may have, 11 how many buckets; for each of them name, minute, how many
-- updates, and for each of these field, 'add' or 'max', number.
local LARGEST = '18446744073709551615'

-- Numbers are decimal texts: one of Lua's has 53 bits.
local function is_larger(one, other)
  if #one ~= #other then return #one > #other end
  return one > other
end

local function split(number)
  if #number <= 10 then return 0, tonumber(number) end
  return tonumber(string.sub(number, 1, -11)), tonumber(string.sub(number, -10))
end

local function add(one, other)
  local high, low = split(one)
  local other_high, other_low = split(other)
  high, low = high + other_high, low + other_low
  if low >= 1e10 then high, low = high + 1, low - 1e10 end
  local sum = whole(low)
  if high > 0 then sum = whole(high) .. string.format('%010.0f', low) end
  return is_larger(sum, LARGEST) and LARGEST or sum
end

local function merge(bucket, at, updates)
  local count = redis.call('HLEN', bucket)
  for update = 0, updates - 1 do
    local field, how, number = ARGV[at + update * 3], ARGV[at + update * 3 + 1],
      ARGV[at + update * 3 + 2]
    local present = redis.call('HGET', bucket, field)
    if present or count < tonumber(ARGV[10]) then
      if not present then count = count + 1 end
      present = present or '0'
      if how == 'add' then
        number = add(present, number)
      elseif is_larger(present, number) then
        number = present
      end
      redis.call('HSET', bucket, field, number)
    end
  end
end

local at = 12
for _ = 1, tonumber(ARGV[11]) do
  local name, minute, updates = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if minute >= first_kept and minute <= last_kept then
    local series, bucket = prefix .. 'series:' .. name, prefix .. 'bucket:' .. ARGV[at + 1] .. ':' .. name
    merge(bucket, at + 3, updates)
    local left = minute + tonumber(ARGV[8]) + 1 - minute_now
    redis.call('PEXPIRE', bucket, whole(left * 60000 + GRACE_MS))
    redis.call('ZADD', series, ARGV[at + 1], ARGV[at + 1])
    local old = redis.call('ZRANGEBYSCORE', series, '-inf', '(' .. whole(first_kept), 'LIMIT', '0', '100')
    for _, its in ipairs(old) do redis.call('DEL', prefix .. 'bucket:' .. its .. ':' .. name) end
    redis.call('ZREMRANGEBYSCORE', series, '-inf', '(' .. whole(first_kept))
    left = last_kept + tonumber(ARGV[8]) + 1 - minute_now
    redis.call('PEXPIRE', series, whole(left * 60000 + GRACE_MS))
  end
  at = at + 3 + updates * 3
end
return answer()
