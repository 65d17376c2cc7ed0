-- unread: counts the posts of a feed that are newer than a post, in one round trip.
--
-- takes    KEYS feed · ARGV the id of that post, cap, lifetime of the feed in s, key prefix of bodies ('': they are on
--          other servers of a Cluster)
-- returns  how many, at most the cap; the ids among them that may be deleted, by their bodies (without a prefix: all);
--          `0` if nothing newer lies further down, else the list's last element ('' if cold). Only the mark if authors
--          are pulled: the list is not the whole feed
--
-- Renews the feed's lifetime. Body keys are computed here, which a Cluster does not allow.

local feed, after, cap, prefix = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4]

redis.call('EXPIRE', feed, ARGV[3])
local last = redis.call('LINDEX', feed, -1)
if not last or (#last > 1 and is_mark(last)) then
  return {0, {}, last or ''}
end

-- Most readers have read almost everything: scan in doubling windows.
local ids, ended, start, size = {}, false, 0, 32
repeat
  local some = redis.call('LRANGE', feed, start, start + size - 1)
  for _, id in ipairs(some) do
    ended = is_mark(id) or not newer(id, after)
    if ended or #ids == cap then break end
    ids[#ids + 1] = id
  end
  start, size = start + size, size * 2
until ended or #ids == cap or #some == 0

local doubtful = {}
for _, id in ipairs(ids) do
  if prefix == '' or not is_live(prefix .. id) then doubtful[#doubtful + 1] = id end
end

return {#ids, doubtful, ended and '0' or last}
