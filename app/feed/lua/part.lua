-- part: the newest ids of a list, or those before one: what a page is merged from.
--
-- takes    KEYS list · ARGV how many, before: what is older than this id ('' : from the newest), life of the list in s
-- returns  the list's last element ('' if cold), and the elements, the mark included
--
-- Renews the list's life.

local list, number, before = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local last = redis.call('LINDEX', list, -1)
if not last then
  return {'', {}}
end
redis.call('EXPIRE', list, ARGV[3])
if before == '' then
  return {last, redis.call('LRANGE', list, 0, number - 1)}
end

-- Who reads on page by page is near the top: look there first, and at twice as much each time.
local part, start, size = {}, 0, math.max(number, 32)
repeat
  local some = redis.call('LRANGE', list, start, start + size - 1)
  for _, id in ipairs(some) do
    if #part == number then return {last, part} end
    if string.byte(id) == 48 or #id < #before or (#id == #before and id < before) then part[#part + 1] = id end
  end
  start, size = start + size, size * 2
until #some == 0
return {last, part}
