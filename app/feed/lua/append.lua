-- append: adds an entry to the log of live events, if a process listens.
--
-- takes    KEYS log, listening · ARGV maximum bytes of the log; op, post, author, readers of the entry
-- keeps    the newest entries: beyond the maximum the oldest quarter goes
-- returns  1 if it was added, 0 if none listens

local log, listening = KEYS[1], KEYS[2]
if redis.call('EXISTS', listening) == 0 then
  redis.call('DEL', log)
  return 0
end
redis.call('XADD', log, '*', 'op', ARGV[2], 'post', ARGV[3], 'author', ARGV[4], 'readers', ARGV[5])
local length = redis.call('XLEN', log)
if length % 64 == 0 and redis.call('MEMORY', 'USAGE', log) > tonumber(ARGV[1]) then
  redis.call('XTRIM', log, 'MAXLEN', math.floor(length * 3 / 4))
end
return 1
