-- erase: removes the posts of an author who is gone from feeds, and the author from their marks.
--
-- takes    KEYS feeds, other keys · ARGV the author, the ids of the posts as a JSON array of text, the number of feeds
-- keeps    the order of the rest, and the lifetime; an incomplete list without posts becomes cold
-- returns  the number of changed feeds
--
-- Reads each feed once, where `remove` would search it for every post. Deletes the lease as `remove` does. No check is owed:
-- neither the posts nor the author come back.

local author, erased = ARGV[1], {}
for _, id in ipairs(cjson.decode(ARGV[2])) do erased[id] = true end

-- Returns the mark without the author, '' if it says nothing more.
local function without_author(mark)
  local open, authors = string.match(mark, '^0(%+?):(.*)$')
  if not authors then return mark end
  local others = {}
  for other in string.gmatch(authors, '%d+') do
    if other ~= author then others[#others + 1] = other end
  end
  if #others > 0 then return '0' .. open .. ':' .. table.concat(others, ',') end
  return open == '' and '0' or ''
end

local changed = 0
for i = 1, tonumber(ARGV[3]) do
  local feed = KEYS[i]
  redis.call('DEL', feed .. ':lease')
  local list, is_changed = {}, false
  for _, element in ipairs(redis.call('LRANGE', feed, 0, -1)) do
    local kept = erased[element] and '' or element
    if is_mark(element) then kept = without_author(element) end
    if kept ~= '' then list[#list + 1] = kept end
    is_changed = is_changed or kept ~= element
  end
  if is_changed then
    local lifetime = redis.call('PTTL', feed)
    redis.call('DEL', feed)
    if #list > 0 and string.sub(list[1], 1, 2) ~= '0+' then
      redis.call('RPUSH', feed, unpack(list))
      if lifetime > 0 then redis.call('PEXPIRE', feed, lifetime) end
    end
    changed = changed + 1
  end
end
return changed
