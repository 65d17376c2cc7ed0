-- commit: ends a rebuild with the ids read from SQL, merged with posts pushed since `begin`.
--
-- takes    KEYS feed, lease · ARGV token, head at `begin`, cap, lifetime of the feed in s, the ids as a JSON array of
--          text (faster than separate arguments or commas), the pulled followees, comma-separated
-- keeps    newest first, unique, at most `cap` ids, then the mark if complete or if authors are pulled
-- returns  1, or 0 if the lease was lost (the ids may be stale: retry)

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end

local feed, head, cap, list = KEYS[1], ARGV[2], tonumber(ARGV[3]), cjson.decode(ARGV[5])
local newest = redis.call('LINDEX', feed, 0) or ''
local complete = #list < cap

-- The list expired or was evicted since `begin`, and pushed posts with it: retry.
if head ~= '' and newest == '' then
  redis.call('DEL', KEYS[2])
  return 0
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
