-- overdue: reads the oldest notes of owed checks.
--
-- takes    KEYS owed, notes · ARGV age in ms from which a check is overdue, how many at most
-- returns  fields and notes in turn
--
-- The age is measured by the clock that dated the notes.

local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local found = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', until_ms, 'LIMIT', 0, ARGV[2])) do
  local note = redis.call('HGET', KEYS[2], field)
  if note then
    found[#found + 1] = field
    found[#found + 1] = note
  else
    redis.call('ZREM', KEYS[1], field)
  end
end
return found
