-- push: inserts a post into warm feeds, in order, once.
--
-- takes    KEYS feeds, other keys · ARGV key, field and text of a note if a check is owed for this, else '' each; the
--          number of feeds, id, cap
-- keeps    newest first, unique, at most `cap` ids, then the mark if there is one
-- returns  the number of changed feeds
--
-- A change that a running rebuild cannot see in the list deletes it.

local id, cap = ARGV[5], tonumber(ARGV[6])
local call = redis.call -- three for each feed

local function precedes(a, b) -- the mark follows every id
  return newer(a, b) or is_mark(b)
end

-- With cap + 1 elements the last may be the mark, which is pushed back. With more, the last is a mark that is no longer
-- true, except for its authors. Full feeds are the common case: RPOP is one call, LINDEX and LTRIM are two.
local function trim(feed, length)
  if length == cap + 1 then
    local last = call('RPOP', feed)
    if is_mark(last) then call('RPUSH', feed, last) end
  elseif length > cap + 1 then
    local mark = call('RPOP', feed)
    call('LTRIM', feed, 0, cap - 1)
    if #mark > 1 and is_mark(mark) then
      call('RPUSH', feed, (string.gsub(mark, '^0:', '0+:')))
    end
  end
end

-- Returns the first element older than the id, false if none, nil if the list holds the id. Galloping search from the
-- head: posts written at the same time are found near it.
local function find(feed, head)
  local low, above = 0, head
  local high, below = 1, call('LINDEX', feed, 1)
  while below and not precedes(id, below) do
    low, above = high, below
    high = high * 2
    below = call('LINDEX', feed, high)
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local element = call('LINDEX', feed, middle)
    if element and not precedes(id, element) then
      low, above = middle, element
    else
      high, below = middle, element
    end
  end
  if above ~= id then return below end
end

-- Inserts out of order. In an incomplete list, a post older than every element has no known place and stays out.
local function insert(feed, head)
  local place = find(feed, head)
  if place == nil then return 0 end
  call('DEL', feed .. ':lease')
  if not place or string.sub(place, 1, 2) == '0+' then return 0 end
  trim(feed, call('LINSERT', feed, 'BEFORE', place, id))
  return 1
end

owe(ARGV[1], ARGV[2], ARGV[3])
local pushed = 0
for i = 1, tonumber(ARGV[4]) do
  local feed = KEYS[i]
  local head = call('LINDEX', feed, 0)
  if not head then
    -- Cold: a one-post list would look complete. A running rebuild may have missed the post.
    call('DEL', feed .. ':lease')
  elseif precedes(id, head) then
    trim(feed, call('LPUSH', feed, id))
    pushed = pushed + 1
  elseif id ~= head then
    pushed = pushed + insert(feed, head)
  end
end
return pushed
