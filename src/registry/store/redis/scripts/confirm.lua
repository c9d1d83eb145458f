-- Notes that replicas have a revision. The guard has seen that it is still there.
-- 8 revision, 9 its tag
if not confirmed or tonumber(confirmed) < tonumber(ARGV[8]) then
  confirmed, confirmed_tag = ARGV[8], ARGV[9]
  redis.call('HSET', key.meta, 'confirmed', confirmed, 'confirmed_tag', confirmed_tag)
end
return answer()
