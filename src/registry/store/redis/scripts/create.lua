-- Makes a registry unless there is one. No guard: there is nothing yet that could be known.
-- 1 prefix, 2 id, 3 epoch, 4 tag
local meta = ARGV[1] .. 'meta'
if redis.call('EXISTS', meta) == 1 then return {'ok'} end
redis.call('HSET', meta, 'format', '1', 'id', ARGV[2], 'epoch', ARGV[3], 'revision', '0',
  'tag', ARGV[4], 'confirmed', '0', 'confirmed_tag', ARGV[4], 'fence', '0')
return {'ok'}
