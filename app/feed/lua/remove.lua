-- remove: removes posts from feeds.
--
-- takes    KEYS feeds, other keys · ARGV key, field and text of a note if a check is owed for this, else '' each; the
--          number of feeds, ids
-- keeps    the order of the rest; an incomplete list without posts becomes cold
-- returns  the number of removed elements
--
-- Deletes the lease: a running rebuild may have read the post before its deletion.

owe(ARGV[1], ARGV[2], ARGV[3])
local removed = 0
for place = 1, tonumber(ARGV[4]) do
  local feed = KEYS[place]
  redis.call('DEL', feed .. ':lease')
  local from_feed = 0
  for i = 5, #ARGV do
    from_feed = from_feed + redis.call('LREM', feed, 0, ARGV[i])
  end
  if from_feed > 0 and string.sub(redis.call('LINDEX', feed, 0) or '', 1, 2) == '0+' then
    redis.call('DEL', feed)
  end
  removed = removed + from_feed
end
return removed
