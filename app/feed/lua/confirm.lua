-- confirm: trusts these servers, unless their drop was called off.
--
-- takes    KEYS trusted, lock · ARGV token of the lock, identities
-- returns  1 if they are trusted now and the lock is free, else 0

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
