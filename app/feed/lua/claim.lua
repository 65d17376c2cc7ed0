-- claim: starts the rebuild of a feed for a message, unless another message does or will do so.
--
-- takes    KEYS feed, lease, claim, owed, notes · ARGV the message's id, a fresh token, the lease's and the claim's
--          lifetime in ms, the number of rebuilds without pause, the first and the longest pause in ms, field and text of
--          the note that the rebuild is owed
-- keeps    claim: `message`, the one that will rebuild this feed, until it has begun; `begun`, the number of rebuilds;
--          `next`, the earliest time of the next (for pace only: correctness depends on no clock)
-- returns  the lease and the feed's first and last element ('' if cold): the rebuild has begun · 0: another message, which has not
--          begun, will rebuild it · else the ms to wait before claiming again: until then the claim is this message's
--
-- The lease of a message is `<id>/<token>`. A message that is delivered again takes over its own lease. It leaves that of
-- another message, which is delivered again if its worker died, and takes over any other lease.
--
-- A claim that takes effect late may be of a message that is done, and others would rely on it in vain. So each leaves a
-- note, which the rebuild deletes when it has ended (see claims.py).

local feed, lease, claim, message = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local free, first, longest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local owner = string.match(redis.call('GET', lease) or '', '^(.*)/')
local claimed = redis.call('HGET', claim, 'message')

if claimed and claimed ~= message then
  if owner == message then redis.call('DEL', lease) end -- of an earlier run of this message; nothing waits for it now
  return 0
end
redis.call('HSET', claim, 'message', message)
redis.call('PEXPIRE', claim, ARGV[4])
owe(KEYS[4], ARGV[8], ARGV[9])

if owner and owner ~= message then return first end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(redis.call('HGET', claim, 'next') or '0') - now
if left > 0 and left <= longest then return left end -- a longer one is of a clock that was set back

local begun = redis.call('HINCRBY', claim, 'begun', 1)
local pause = begun < free and 0 or math.min(first * 2 ^ math.min(begun - free, 30), longest)
redis.call('HSET', claim, 'next', string.format('%d', now + pause))
redis.call('HDEL', claim, 'message') -- a change from now on needs another rebuild
local ours = lease_of(message .. '/' .. ARGV[2])
redis.call('SET', lease, ours, 'PX', ARGV[3])
return {ours, redis.call('LINDEX', feed, 0) or '', redis.call('LINDEX', feed, -1) or ''}
