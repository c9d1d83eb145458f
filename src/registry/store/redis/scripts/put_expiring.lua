-- 8 key, 9 value, 10 time to live
keep(prefix .. 'expiring:' .. ARGV[8], tonumber(ARGV[10]), 'value', ARGV[9])
return answer()
