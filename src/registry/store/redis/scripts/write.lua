-- 8 notices that the feed keeps, 9 this call's tag, 10 'confirmed' if it counts as that at once,
-- 11 how many writes; for each of them kind, id, expected ('' is any, 'absent', or a revision),
-- indexes as JSON ('' removes), body.
local feed_kept, new_tag, count = tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[11])
local writes = {}
for place = 1, count do
  local at = 11 + (place - 1) * 5
  local kind, id = ARGV[at + 1], ARGV[at + 2]
  writes[place] = {
    kind = kind, id = id, expected = ARGV[at + 3], text = ARGV[at + 4], body = at + 5,
    key = prefix .. 'document:' .. kind .. ':' .. id,
    indexed = prefix .. 'index:' .. kind,
    indexes = ARGV[at + 4] ~= '' and cjson.decode(ARGV[at + 4]),
  }
end

-- Everything is checked before anything is written: a script that ends halfway is not undone.
local rewritten = {}
for place, write in ipairs(writes) do
  local stored = redis.call('HMGET', write.key, 'revision', 'indexes')
  local expected = write.expected
  if expected == 'absent' then
    if stored[1] then return answer('conflict', whole(place - 1)) end
  elseif expected ~= '' and stored[1] ~= expected then
    return answer('conflict', whole(place - 1))
  end
  write.before = stored[1] and cjson.decode(stored[2])
  rewritten[write.key] = true
end

local claimed = {}
for place, write in ipairs(writes) do
  for _, index in ipairs(write.indexes or {}) do
    local claim = write.kind .. ':' .. index
    claimed[claim] = claimed[claim] or write.id
    local owner = redis.call('HGET', write.indexed, index)
    -- A document of this call that has it will either give it up or claims it, too.
    local is_anothers = owner
      and not rewritten[prefix .. 'document:' .. write.kind .. ':' .. owner]
    if claimed[claim] ~= write.id or is_anothers then
      return answer('taken', whole(place - 1), index)
    end
  end
end

local newest = redis.call('XREVRANGE', key.feed, '+', '-', 'COUNT', '1')[1]
if newest and tonumber(string.match(newest[1], '^%d+')) > revision then
  return {'corrupt', 'feed'}
end

-- What all of them give up goes first, since they may take it from each other.
for _, write in ipairs(writes) do
  for _, index in ipairs(write.before or {}) do redis.call('HDEL', write.indexed, index) end
  if not write.indexes then
    redis.call('DEL', write.key)
    redis.call('ZREM', prefix .. 'ids:' .. write.kind, write.id)
  end
end
local first = revision + 1
for _, write in ipairs(writes) do
  revision = revision + 1
  local number = whole(revision)
  if write.indexes then
    for _, index in ipairs(write.indexes) do
      redis.call('HSET', write.indexed, index, write.id)
    end
    redis.call('HSET', write.key, 'revision', number, 'indexes', write.text,
      'body', ARGV[write.body])
    redis.call('ZADD', prefix .. 'ids:' .. write.kind, '0', write.id)
  end
  redis.call('XADD', key.feed, number .. '-0', 'kind', write.kind, 'id', write.id, 'tag', new_tag)
end
redis.call('HSET', key.meta, 'revision', whole(revision), 'tag', new_tag)
redis.call('XTRIM', key.feed, 'MINID', whole(math.max(revision - feed_kept + 1, 0)))
tag = new_tag
if ARGV[10] == 'confirmed' then
  confirmed, confirmed_tag = whole(revision), tag
  redis.call('HSET', key.meta, 'confirmed', confirmed, 'confirmed_tag', confirmed_tag)
end
return answer('written', whole(first))
