-- remove: take posts out of feeds.
--
-- takes    KEYS feeds · ARGV ids
-- keeps    the order of the rest; a list that loses its last element is cold
-- returns  the number of elements taken out
--
-- The lease goes too: a rebuild under way may have read the post while it was alive.

local removed = 0
for _, feed in ipairs(KEYS) do
  redis.call('DEL', feed .. ':lease')
  for _, id in ipairs(ARGV) do
    removed = removed + redis.call('LREM', feed, 0, id)
  end
end
return removed
