-- doubtful: finds the posts that may be deleted, by their cached bodies.
--
-- takes    KEYS bodies · ARGV none
-- returns  the places in KEYS of those that are not cached, or say deleted

local places = {}
for place, body in ipairs(KEYS) do
  if not is_live(body) then places[#places + 1] = place end
end
return places
