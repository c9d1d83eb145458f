-- What ends by itself. The end decides; the time to live behind it only takes the entry away.
local GRACE_MS = 60000

-- The named fields of an entry that ended lately, if it has.
local function kept(entry, ...)
  local stored = redis.call('HMGET', entry, 'end', ...)
  if stored[1] and now_ms < tonumber(stored[1]) + GRACE_MS then return stored end
end

-- The named fields of a live entry.
local function live(entry, ...)
  local stored = kept(entry, ...)
  if stored and now_ms < tonumber(stored[1]) then return stored end
end

local function keep(entry, ttl_ms, ...)
  redis.call('HSET', entry, 'end', whole(now_ms + ttl_ms), ...)
  redis.call('PEXPIRE', entry, whole(ttl_ms + GRACE_MS))
end
