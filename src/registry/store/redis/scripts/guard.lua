-- What every script begins with: is this the registry that the caller knows, and no older?
-- 1 prefix, 2 id, 3 epoch, 4 and 5 highest revision that the caller saw and its tag, 6 a time of day
-- to go by instead of the server's, 7 the moment of the server's time until which to begin.
local prefix, seen = ARGV[1], tonumber(ARGV[4])
local seen_tag, deadline_ms = ARGV[5], tonumber(ARGV[7])
local key = {meta = prefix .. 'meta', feed = prefix .. 'feed'}

local time = redis.call('TIME')
local server_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_ms = tonumber(ARGV[6]) or server_ms

local function whole(number) return string.format('%.0f', number) end

-- Field by field: XRANGE gives an entry as its id and a flat list.
local function fields(entry)
  local named = {}
  for place = 1, #entry[2], 2 do named[entry[2][place]] = entry[2][place + 1] end
  return named
end

local meta = redis.call('HMGET', key.meta, 'format', 'id', 'epoch', 'revision', 'tag',
  'confirmed', 'confirmed_tag')
if not meta[1] then return {'empty'} end
if meta[1] ~= '1' then return {'format', meta[1]} end
if meta[2] ~= ARGV[2] then return {'foreign'} end
local revision, tag = tonumber(meta[4]), meta[5]
local confirmed, confirmed_tag = meta[6], meta[7]
if not revision or not tag or not meta[3] then return {'corrupt', 'meta'} end
if meta[3] ~= ARGV[3] then
  return {'epoch', meta[3], whole(revision), tag, confirmed, confirmed_tag}
end
if revision < seen then return {'stale', whole(revision)} end
if seen_tag ~= '' then
  local its_tag = tag
  if revision > seen then
    local id = ARGV[4] .. '-0'
    local entry = redis.call('XRANGE', key.feed, id, id)[1]
    -- One that was trimmed away says nothing.
    its_tag = entry and fields(entry).tag or seen_tag
  end
  if its_tag ~= seen_tag then return {'parted', whole(revision)} end
end
if deadline_ms and server_ms > deadline_ms then return {'late'} end

local function answer(...)
  return {'ok', whole(revision), tag, confirmed, confirmed_tag, ...}
end
