-- part: reads the newest ids of a list, or those older than a cursor, to be merged into a page.
--
-- takes    KEYS list · ARGV number of ids, before (cursor; '': from the newest), lifetime of the list in s
-- returns  the list's last element ('' if cold), and the elements, including the mark
--
-- Renews the list's lifetime.

local list, number, before = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local last = redis.call('LINDEX', list, -1)
if not last then
  return {'', {}}
end
redis.call('EXPIRE', list, ARGV[3])
if before == '' then
  return {last, redis.call('LRANGE', list, 0, number - 1)}
end

-- Cursors are usually near the head: scan in doubling windows.
local part, start, size = {}, 0, math.max(number, 32)
repeat
  local some = redis.call('LRANGE', list, start, start + size - 1)
  for _, id in ipairs(some) do
    if #part == number then return {last, part} end
    if is_mark(id) or newer(before, id) then part[#part + 1] = id end
  end
  start, size = start + size, size * 2
until #some == 0
return {last, part}
