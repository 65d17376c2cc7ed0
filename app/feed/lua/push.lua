-- push: put a post into feeds that have a list, in its place, once.
--
-- takes    KEYS feeds · ARGV id, cap
-- keeps    order (newest first), no repeats, at most `cap` ids; `0` behind them means that nothing is older
-- returns  the number of feeds that now hold the id and did not before
--
-- Ids compare as (length, text): a Lua number has 53 bits, an id has 64.
-- The lease <feed>:lease shares the feed's slot. Whatever a running rebuild could not see in the list drops it.

local id, cap = ARGV[1], tonumber(ARGV[2])

local function newer(a, b)
  return #a > #b or (#a == #b and a > b)
end

-- Of cap + 1 elements the last may be the mark, which is put back; of more it is not worth keeping. A full feed is what
-- is met most, and so takes one call: to look at the end and then to cut it off takes two.
local function trim(feed, length)
  if length > cap + 1 then
    redis.call('LTRIM', feed, 0, cap - 1)
  elseif length == cap + 1 and redis.call('RPOP', feed) == '0' then
    redis.call('RPUSH', feed, '0')
  end
end

-- Out of order. Older than all that an incomplete list holds: its place is unknown, so it stays out.
local function insert(feed)
  for _, element in ipairs(redis.call('LRANGE', feed, 0, -1)) do
    if newer(id, element) then
      trim(feed, redis.call('LINSERT', feed, 'BEFORE', element, id))
      return 1
    end
  end
  return 0
end

local pushed = 0
for _, feed in ipairs(KEYS) do
  local head = redis.call('LINDEX', feed, 0)
  if not head then
    -- Cold: a one-post list would look complete. A rebuild under way may have missed the post.
    redis.call('DEL', feed .. ':lease')
  elseif newer(id, head) then
    trim(feed, redis.call('LPUSH', feed, id))
    pushed = pushed + 1
  elseif id ~= head and not redis.call('LPOS', feed, id) then
    redis.call('DEL', feed .. ':lease')
    pushed = pushed + insert(feed)
  end
end
return pushed
