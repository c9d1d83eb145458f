-- From 10 on: keys.
local oldest = oldest_notice()
local look_at = {}

function look_at.document(full, rest)
  local kind, id = string.match(rest, '^([^:]+):(.+)$')
  if not kind then return say(full, ': is no part of the layout') end
  local stored = redis.call('HMGET', full, 'revision', 'indexes', 'body')
  local indexes = indexes_of(stored[2])
  if not is_number(stored[1]) then return say(full, ': its revision cannot be read') end
  if not indexes then return say(full, ': its indexes cannot be read') end
  if not stored[3] then say(full, ': it has no body') end
  local its = tonumber(stored[1])
  if its > revision then say(full, ': its revision ', stored[1], ' is ahead of the registry') end
  if not redis.call('ZSCORE', prefix .. 'ids:' .. kind, id) then
    say(full, ': it is not in ', prefix, 'ids:', kind)
  end
  for _, index in ipairs(indexes) do
    local owner = redis.call('HGET', prefix .. 'index:' .. kind, index)
    if owner ~= id then
      say(full, ': its index ', index, owner and ' leads to ' .. owner or ' is not there')
    end
  end
  if oldest and its >= oldest and its <= revision then
    local entry = redis.call('XRANGE', key.feed, stored[1] .. '-0', stored[1] .. '-0')[1]
    local named = entry and fields(entry) or {}
    if named.kind ~= kind or named.id ~= id then
      say(full, ': the notice of its revision ', stored[1], ' is about something else')
    end
  end
end

local function passing(full, ...)
  local stored = redis.call('HMGET', full, 'end', ...)
  for place = 1, select('#', ...) + 1 do
    if not stored[place] then return say(full, ': it lacks a field') end
  end
  if not is_number(stored[1]) then say(full, ': its end cannot be read') end
  if redis.call('PTTL', full) == -1 then say(full, ': it has no time to live') end
  return stored
end

function look_at.expiring(full) passing(full, 'value') end

function look_at.count(full)
  local stored = passing(full, 'count')
  if stored and not is_number(stored[2]) then say(full, ': its count cannot be read') end
end

function look_at.lease(full)
  local stored = passing(full, 'holder', 'fence')
  if not stored then return end
  local last = redis.call('HGET', key.meta, 'fence')
  if not is_number(stored[3]) then return say(full, ': its fence cannot be read') end
  if is_number(last) and tonumber(stored[3]) > tonumber(last) then
    say(full, ': its fence is ahead of the registry')
  end
end

function look_at.series(full)
  if redis.call('PTTL', full) == -1 then say(full, ': it has no time to live') end
end

function look_at.bucket(full, rest)
  local minute, name = string.match(rest, '^(%d+):(.+)$')
  if not minute then return say(full, ': is no part of the layout') end
  if redis.call('PTTL', full) == -1 then say(full, ': it has no time to live') end
  local is_listed = redis.call('ZSCORE', prefix .. 'series:' .. name, minute)
  if not is_listed and tonumber(minute) >= first_kept then
    say(full, ': it is not in ', prefix, 'series:', name)
  end
  local numbers = redis.call('HGETALL', full)
  for place = 1, #numbers, 2 do
    if not is_number(numbers[place + 1]) then
      say(full, ': its field ', numbers[place], ' cannot be read')
    end
  end
end

-- These are looked at page by page.
function look_at.ids() end
look_at.index = look_at.ids

function look_at.meta(full)
  if not is_number(redis.call('HGET', full, 'fence')) then
    say(full, ': its fence cannot be read')
  end
  if not is_number(confirmed) or not confirmed_tag then
    say(full, ': what is confirmed cannot be read')
  elseif tonumber(confirmed) > revision then
    say(full, ': the confirmed revision ', confirmed, ' is ahead of the registry')
  end
end
look_at.feed = look_at.ids

local TYPES = {ids = 'zset', series = 'zset', feed = 'stream'}

for place = 10, #ARGV do
  local full = ARGV[place]
  local below = string.sub(full, #prefix + 1)
  local form, rest = string.match(below, '^(%a+):(.+)$')
  if below == 'meta' or below == 'feed' then form, rest = below, '' end
  local is_of_layout = form and look_at[form]
    and ((form == 'meta' or form == 'feed') == (rest == ''))
  local its_type = redis.call('TYPE', full).ok
  if not is_of_layout then
    -- The probe of a connection that is just being made.
    if below ~= 'probe' and its_type ~= 'none' then
      say(full, ': is no part of the layout')
    end
  elseif its_type == 'none' then
    -- It went between the walk and this look.
  elseif its_type ~= (TYPES[form] or 'hash') then
    say(full, ': is a ', its_type)
  else
    look_at[form](full, rest)
  end
end
return answer(lines)
