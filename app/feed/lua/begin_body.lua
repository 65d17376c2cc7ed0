-- begin_body: begins to fill a post's body.
--
-- takes    KEYS body · ARGV a fresh token, the lease's lifetime in ms, 'steal' to replace a body or a lease
-- returns  the lease, or nil if there is a body or a lease and it was left alone
--
-- The lease is a list because MGET skips lists: a page needs no check for it.

if ARGV[3] ~= 'steal' and redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local lease = lease_of(ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], lease)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return lease
