-- begin: starts the rebuild of a feed.
--
-- takes    KEYS feed, lease · ARGV a fresh token, the lease's lifetime in ms, 'steal' to take over a running rebuild's lease
-- returns  the lease and the feed's first and last element ('' if cold), or nil if another rebuild is running and left alone

-- A lease with this token is from a call with a lost reply.
local lease = redis.call('GET', KEYS[2])
if ARGV[3] ~= 'steal' and lease and string.sub(lease, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then
  return false
end
lease = lease_of(ARGV[1])
redis.call('SET', KEYS[2], lease, 'PX', ARGV[2])
return {lease, redis.call('LINDEX', KEYS[1], 0) or '', redis.call('LINDEX', KEYS[1], -1) or ''}
