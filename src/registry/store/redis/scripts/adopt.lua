-- An operator takes what is there for the registry. No guard: it would refuse.
-- 1 prefix, 2 id, 3 new epoch, 4 revision seen by the caller, 5 new tag, 6 how far ahead to go
local prefix = ARGV[1]
local meta = redis.call('HMGET', prefix .. 'meta', 'format', 'id', 'revision')
if not meta[1] then return {'empty'} end
if meta[1] ~= '1' then return {'format', meta[1]} end
if meta[2] ~= ARGV[2] then return {'foreign'} end
local revision = tonumber(meta[3])
if not revision then return {'corrupt', 'meta'} end
local ahead = string.format('%.0f', math.max(revision, tonumber(ARGV[4])) + tonumber(ARGV[6]))
redis.call('HSET', prefix .. 'meta', 'epoch', ARGV[3], 'revision', ahead, 'tag', ARGV[5],
  'confirmed', ahead, 'confirmed_tag', ARGV[5])
-- Whoever reads on from an older revision must find a gap.
redis.call('DEL', prefix .. 'feed')
return {'ok', ahead, ARGV[5]}
