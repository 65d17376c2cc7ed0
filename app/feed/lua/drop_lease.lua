-- drop_lease: ends a rebuild that failed.
--
-- takes    KEYS lease · ARGV token
-- keeps    the lease of another rebuild
-- returns  1 if the lease was dropped, else 0

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
