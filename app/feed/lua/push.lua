-- push: put a post into feeds that have a list, in its place, once.
--
-- takes    KEYS feeds · ARGV id, cap
-- keeps    order (newest first), no repeats, at most `cap` ids; behind them the mark, where there is one
-- returns  the number of feeds that were changed
--
-- Ids compare as (length, text): a Lua number has 53 bits, an id has 64. The mark begins with `0`, as no id does, and is
-- older than every id: `0` nothing is older; `0:…` the same, and these authors are pulled; `0+:…` something may be older.
-- The lease <feed>:lease shares the feed's slot. Whatever a running rebuild could not see in the list drops it.

local id, cap = ARGV[1], tonumber(ARGV[2])
local byte = string.byte

local function newer(a, b)
  return #a > #b or (#a == #b and a > b) or byte(b) == 48 -- `0`
end

-- Of cap + 1 elements the last may be the mark, which is put back. Of more it is one, and true no longer, but for the
-- authors in it. A full feed is what is met most, and so takes one call: to look at the end and then to cut it off
-- takes two.
local function trim(feed, length)
  if length == cap + 1 then
    local last = redis.call('RPOP', feed)
    if byte(last) == 48 then redis.call('RPUSH', feed, last) end
  elseif length > cap + 1 then
    local mark = redis.call('RPOP', feed)
    redis.call('LTRIM', feed, 0, cap - 1)
    if #mark > 1 and byte(mark) == 48 then
      redis.call('RPUSH', feed, (string.gsub(mark, '^0:', '0+:')))
    end
  end
end

-- The first element that is older than the id, or false; nothing where the list holds the id. Steps that double from the
-- head down and then halve: a post of many written together is found near the head, one that comes late far down.
local function find(feed, head)
  local low, above = 0, head
  local high, below = 1, redis.call('LINDEX', feed, 1)
  while below and not newer(id, below) do
    low, above = high, below
    high = high * 2
    below = redis.call('LINDEX', feed, high)
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local element = redis.call('LINDEX', feed, middle)
    if element and not newer(id, element) then
      low, above = middle, element
    else
      high, below = middle, element
    end
  end
  if above ~= id then return below end
end

-- Out of order. Older than all that an incomplete list holds: its place is unknown, so it stays out.
local function insert(feed, head)
  local place = find(feed, head)
  if place == nil then return 0 end
  redis.call('DEL', feed .. ':lease')
  if not place or string.sub(place, 1, 2) == '0+' then return 0 end
  trim(feed, redis.call('LINSERT', feed, 'BEFORE', place, id))
  return 1
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
  elseif id ~= head then
    pushed = pushed + insert(feed, head)
  end
end
return pushed
