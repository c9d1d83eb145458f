-- 10 kind, 11 the least id in ZRANGEBYLEX's form, 12 how many
local ids = redis.call('ZRANGEBYLEX', prefix .. 'ids:' .. ARGV[10], ARGV[11], '+',
  'LIMIT', '0', ARGV[12])
for _, id in ipairs(ids) do
  if redis.call('EXISTS', prefix .. 'document:' .. ARGV[10] .. ':' .. id) == 0 then
    say(prefix, 'ids:', ARGV[10], ': ', id, ' is not there')
  end
end
return answer(lines, whole(#ids), ids[#ids] or '')
