-- page: a page of a feed, with the bodies of its posts: all that a reader needs, in one round trip.
--
-- takes    KEYS feed · ARGV offset, limit, before: the page is what is older than this id ('' : what is at offset),
--          life of the feed in s, prefix of a body's key ('' : no bodies, they lie on other servers of a Cluster)
-- returns  the page's elements, the mark included, the bodies of its ids ('' where not cached), the list's last element
--          where the page is empty; and nothing but the mark where authors are pulled: the list is not all of the feed
--
-- Renews the feed's life. The bodies' keys are known here only, so on a Cluster they cannot be read here.

local feed, offset, limit, before = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

redis.call('EXPIRE', feed, ARGV[4])
local last = redis.call('LINDEX', feed, -1)
if last and #last > 1 and string.byte(last) == 48 then
  return {{}, {}, last}
end

local page
if before == '' then
  page = redis.call('LRANGE', feed, offset, offset + limit - 1)
else
  page = {}
  for _, id in ipairs(redis.call('LRANGE', feed, 0, -1)) do
    if #page == limit then break end
    if #id < #before or (#id == #before and id < before) then page[#page + 1] = id end
  end
end

local keys = {}
for i, id in ipairs(page) do
  if ARGV[5] ~= '' and id ~= '0' then keys[i] = ARGV[5] .. id end
end
local bodies = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
for i, body in ipairs(bodies) do bodies[i] = body or '' end

return {page, bodies, page[#page] or last or ''}
