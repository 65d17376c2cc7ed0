-- commit: end a rebuild: the ids read from SQL, and what was pushed since `begin`.
--
-- takes    KEYS feed, lease · ARGV token, head at `begin`, cap, life of the feed in s, '1' if the ids are all, ids…
-- keeps    order, no repeats, at most `cap` ids; `0` behind them where they are all and none was cut off
-- returns  1, or 0 where the lease is no longer ours (RETRY: something happened that the ids may not show)

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end

local feed, head, cap, complete = KEYS[1], ARGV[2], tonumber(ARGV[3]), ARGV[5] == '1'

-- A list that was there and is gone (expired, evicted) has taken with it what was pushed since `begin`.
if head ~= '' and redis.call('EXISTS', feed) == 0 then
  redis.call('DEL', KEYS[2])
  return 0
end

local function newer(a, b)
  return #a > #b or (#a == #b and a > b)
end

local list, next_read = {}, 6
local function take_read()
  list[#list + 1] = ARGV[next_read]
  next_read = next_read + 1
end

-- Merge: both sides are newest first.
for _, pushed in ipairs(redis.call('LRANGE', feed, 0, -1)) do
  if not newer(pushed, head) then break end
  while next_read <= #ARGV and newer(ARGV[next_read], pushed) do take_read() end
  if ARGV[next_read] ~= pushed then list[#list + 1] = pushed end
end
while next_read <= #ARGV do take_read() end

if #list > cap then
  complete = false
  for i = #list, cap + 1, -1 do list[i] = nil end
end
if complete then list[#list + 1] = '0' end

redis.call('DEL', feed, KEYS[2])
if #list > 0 then
  redis.call('RPUSH', feed, unpack(list))
  redis.call('EXPIRE', feed, ARGV[4])
end
return 1
