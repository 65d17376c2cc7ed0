-- settle: deletes the notes of checks that were made.
--
-- takes    KEYS owed, notes · ARGV token, fields
-- keeps    notes with another token: they are of later writes under the same field

local token, notes = ARGV[1], KEYS[2]
for i = 2, #ARGV do
  local note = redis.call('HGET', notes, ARGV[i])
  if note and string.sub(note, 1, #token) == token then
    redis.call('HDEL', notes, ARGV[i])
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
