-- prelude: comparison of ids, leases, notes of owed checks and states of bodies, joined to the head of every script.
--
-- Ids compare as (length, text): a Lua number has 53 bits, an id has 64. The mark, a list's last element, begins with `0`,
-- unlike any id: `0` complete; `0:…` complete except for these pulled authors; `0+:…` older posts may exist.

local function newer(a, b)
  return #a > #b or (#a == #b and a > b)
end

-- On a Cluster KEYS names every key of a script, also those that it derives from others (`<feed>:lease`, `<owed>:notes`).
-- While a slot moves, they may lie on two servers: Redis then refuses the script instead of running it on a part of them.

-- Notes that a check of what this script writes is owed (see owed_checks.py); nothing if `owed` is ''. The keys share the
-- slot of the feeds.
local function owe(owed, field, note)
  if owed == '' then return end
  local time = redis.call('TIME')
  redis.call('ZADD', owed, time[1] * 1000 + math.floor(time[2] / 1000), field)
  redis.call('HSET', owed .. ':notes', field, note)
end

-- The lease of this call: its token, and the time. A copy of the call that arrives late makes another lease, so it cannot
-- revive one that was dropped.
local function lease_of(token)
  local time = redis.call('TIME')
  return string.format('%s:%d%06d', token, time[1], time[2])
end

local byte = string.byte -- called for each feed

local function is_mark(element)
  return byte(element) == 48 -- `0`
end

-- Whether a body is cached and does not say deleted (see post_bodies.py). Its version is read alone: a text may be long.
-- The lease of a fill is a list, of which there is no range of characters.
local function is_live(body)
  local version = redis.pcall('GETRANGE', body, 0, 9)
  return type(version) == 'string' and version ~= '' and version ~= '9999999999'
end

