-- commit: end a rebuild: the ids read from SQL, and what was pushed since `begin`.
--
-- takes    KEYS feed, lease · ARGV token, head at `begin`, cap, life of the feed in s, the ids as a JSON array of text
--          (one argument: a thousand take 5 times as long from the client, as commas between them twice as long here),
--          the pulled authors that the reader follows, with commas between
-- keeps    order, no repeats, at most `cap` ids; the mark behind them (see push) where SQL has no more and none was cut
--          off, or where authors are pulled
-- returns  1, or 0 where the lease is no longer ours (RETRY: something happened that the ids may not show)

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end

local feed, head, cap, list = KEYS[1], ARGV[2], tonumber(ARGV[3]), cjson.decode(ARGV[5])
local newest = redis.call('LINDEX', feed, 0) or ''
local complete = #list < cap

-- A list that was there and is gone (expired, evicted) has taken with it what was pushed since `begin`.
if head ~= '' and newest == '' then
  redis.call('DEL', KEYS[2])
  return 0
end

local function is_mark(element)
  return string.byte(element) == 48
end

local function newer(a, b)
  return #a > #b or (#a == #b and a > b)
end

if newest ~= head then -- merge: both sides are newest first
  local read, next_read = list, 1
  list = {}
  local function take_read()
    list[#list + 1] = read[next_read]
    next_read = next_read + 1
  end
  for _, pushed in ipairs(redis.call('LRANGE', feed, 0, -1)) do
    if is_mark(pushed) or not (newer(pushed, head) or is_mark(head)) then break end
    while next_read <= #read and newer(read[next_read], pushed) do take_read() end
    if read[next_read] ~= pushed then list[#list + 1] = pushed end
  end
  while next_read <= #read do take_read() end
  if #list > cap then
    complete = false
    for i = #list, cap + 1, -1 do list[i] = nil end
  end
end
if ARGV[6] ~= '' then
  list[#list + 1] = (complete and '0:' or '0+:') .. ARGV[6]
elseif complete then
  list[#list + 1] = '0'
end

redis.call('DEL', feed, KEYS[2])
if #list > 0 then
  redis.call('RPUSH', feed, unpack(list))
  redis.call('EXPIRE', feed, ARGV[4])
end
return 1
