-- begin: start to rebuild a feed.
--
-- takes    KEYS feed, lease · ARGV a fresh token, the lease's life in ms, 'wait' to leave a lease that is there
-- returns  the feed's first and last element ('' if cold), or nil where another rebuild is under way and is left alone

-- A lease with this token is from a call whose answer was lost.
local lease = redis.call('GET', KEYS[2])
if ARGV[3] == 'wait' and lease and lease ~= ARGV[1] then
  return false
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {redis.call('LINDEX', KEYS[1], 0) or '', redis.call('LINDEX', KEYS[1], -1) or ''}
