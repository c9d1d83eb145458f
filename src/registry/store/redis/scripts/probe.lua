-- Tries every command that a script writes with, since one that is forbidden would end a script in
-- the middle of its work.
local probe = prefix .. 'probe'
local tried = {
  {'DEL', probe}, {'HSET', probe, 'field', '1'}, {'HINCRBY', probe, 'field', '1'}, {'HLEN', probe},
  {'HGET', probe, 'field'}, {'HGETALL', probe}, {'HDEL', probe, 'field'}, {'EXISTS', probe},
  {'ZADD', probe, '0', 'member'}, {'ZREM', probe, 'member'},
  {'ZADD', probe, '0', 'member'}, {'ZREMRANGEBYSCORE', probe, '0', '0'},
  {'ZRANGEBYLEX', probe, '-', '+'}, {'ZRANGEBYSCORE', probe, '0', '0'}, {'ZSCORE', probe, 'member'},
  {'XADD', probe, '1-0', 'field', '1'}, {'XTRIM', probe, 'MINID', '2'},
  {'XRANGE', probe, '-', '+', 'COUNT', '1'}, {'XREVRANGE', probe, '+', '-', 'COUNT', '1'},
  {'PEXPIRE', probe, '1000'},
  {'DEL', probe},
}
for _, command in ipairs(tried) do
  local tried_it = redis.pcall(unpack(command))
  local failure = type(tried_it) == 'table' and tried_it.err
  -- Whatever else is wrong is wrong for a while only.
  -- Redis says it in two ways, Valkey in another.
  local is_forbidden = failure and (string.find(failure, "can't run this command", 1, true)
    or string.find(failure, "can't access at least one of the keys", 1, true)
    or string.find(failure, 'ACL failure', 1, true))
  if is_forbidden then return answer(command[1]) end
end
return answer()
