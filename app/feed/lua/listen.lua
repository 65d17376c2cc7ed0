-- listen: makes writers keep the log of live events.
--
-- takes    KEYS log, listening · ARGV a new token, seconds to keep it
-- keeps    the log if it has been kept without a gap; else a new one begins, under the new token
-- returns  the token of the log, the id of its last entry

local log, listening = KEYS[1], KEYS[2]
local token = redis.call('GET', listening)
local last = token and redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not last then
  token = ARGV[1]
  redis.call('DEL', log)
  last = {redis.call('XADD', log, '*', 'op', 'begun', 'post', '0', 'author', '0', 'readers', '')}
end
redis.call('SET', listening, token, 'EX', ARGV[2])
return {token, last[1]}
