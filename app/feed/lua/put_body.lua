-- put_body: caches a post's body if its lease still has this token.
--
-- takes    KEYS body · ARGV token, version in ten digits followed by the JSON, lifetime in s
-- returns  1, or 0 if the lease was lost: an edit or another fill replaced it, it expired or was evicted

if redis.call('TYPE', KEYS[1]).ok ~= 'list' or redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
