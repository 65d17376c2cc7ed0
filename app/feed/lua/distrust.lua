-- distrust: ends the trust in these servers, and calls off the drop that is under way.
--
-- takes    KEYS trusted, lock · ARGV identities; none: all
-- returns  nothing

local distrusted, kept = {}, {}
for _, identity in ipairs(ARGV) do
  distrusted[identity] = true
end
for identity in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  if #ARGV > 0 and not distrusted[identity] then
    kept[#kept + 1] = identity
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
if #kept > 0 then
  redis.call('SET', KEYS[1], table.concat(kept, ' '))
end
