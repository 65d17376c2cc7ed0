-- remove: take posts out of feeds.
--
-- takes    KEYS feeds · ARGV ids
-- keeps    the order of the rest; a list that loses its last element is cold, and so is one that knows of no post any
--          more and is not complete
-- returns  the number of elements taken out
--
-- The lease goes too: a rebuild under way may have read the post while it was alive.

local removed = 0
for _, feed in ipairs(KEYS) do
  redis.call('DEL', feed .. ':lease')
  local from_feed = 0
  for _, id in ipairs(ARGV) do
    from_feed = from_feed + redis.call('LREM', feed, 0, id)
  end
  if from_feed > 0 and string.sub(redis.call('LINDEX', feed, 0) or '', 1, 2) == '0+' then
    redis.call('DEL', feed)
  end
  removed = removed + from_feed
end
return removed
