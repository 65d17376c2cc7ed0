-- page: reads a page of a feed and the bodies of its posts in one round trip.
--
-- takes    KEYS feed · ARGV offset, limit, before (cursor: only older ids; '': use the offset), lifetime of the feed
--          in s, key prefix of bodies ('': no bodies, they are on other servers of a Cluster), maximum bytes of bodies,
--          after (cursor: only newer ids, and no offset; may be left out)
-- returns  the page's elements, including the mark; the bodies of its first ids ('' if not cached); the list's last
--          element if the page is empty. Only the mark if authors are pulled: the list is not the whole feed
--
-- Renews the feed's lifetime. Body keys are computed here, which a Cluster does not allow.

local feed, offset, limit, before, prefix = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[5]
local after = ARGV[7]
local BATCH = 50 -- bodies per MGET; bounds the bodies read in vain

redis.call('EXPIRE', feed, ARGV[4])
local last = redis.call('LINDEX', feed, -1)
if last and #last > 1 and is_mark(last) then
  return {{}, {}, last}
end

local page
if before == '' and not after then
  page = redis.call('LRANGE', feed, offset, offset + limit - 1)
else
  page = {}
  local all = redis.call('LRANGE', feed, 0, before == '' and limit - 1 or -1)
  local first, past = 1, before == '' and 1 or #all + 1 -- binary search of the first id older than the cursor
  while first < past do
    local middle = math.floor((first + past) / 2)
    if newer(before, all[middle]) then past = middle else first = middle + 1 end
  end
  for i = first, math.min(first + limit - 1, #all) do
    if after and not newer(all[i], after) then
      page[#page + 1] = '0' -- to this page nothing older belongs, as at the end of a feed
      break
    end
    page[#page + 1] = all[i]
  end
end

local bodies, bytes, ids = {}, tonumber(ARGV[6]), #page
if page[ids] == '0' then ids = ids - 1 end
if prefix == '' then ids = 0 end
while #bodies < ids and bytes > 0 do
  local keys = {}
  for i = #bodies + 1, math.min(#bodies + BATCH, ids) do keys[#keys + 1] = prefix .. page[i] end
  for _, body in ipairs(redis.call('MGET', unpack(keys))) do
    bodies[#bodies + 1] = body or ''
    bytes = bytes - #bodies[#bodies]
  end
end

return {page, bodies, page[#page] or last or ''}
