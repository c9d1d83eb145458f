-- For looking at what is there. Each line says one thing that should not be so.
local lines = {}

local function say(...) lines[#lines + 1] = table.concat({...}) end

local function is_number(text) return text and #text <= 20 and string.match(text, '^%d+$') end

-- The indexes of a document, or nothing if they cannot be read.
local function indexes_of(text)
  local is_read, indexes = pcall(cjson.decode, text or '')
  if not is_read or type(indexes) ~= 'table' then return end
  for place, index in pairs(indexes) do
    if type(place) ~= 'number' or type(index) ~= 'string' then return end
  end
  return indexes
end

-- The first revision in the feed.
local function oldest_notice()
  local first = redis.call('XRANGE', key.feed, '-', '+', 'COUNT', '1')[1]
  return first and tonumber(string.match(first[1], '^%d+'))
end
