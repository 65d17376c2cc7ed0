-- put_body: cache a post's body, unless a newer version is there.
--
-- takes    KEYS body · ARGV version in ten digits before the JSON, life in s
-- returns  1, or 0 where the same or a newer version was there

local known = redis.call('GETRANGE', KEYS[1], 0, 9)
if known >= string.sub(ARGV[1], 1, 10) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
