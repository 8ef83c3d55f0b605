-- The ids of a channel's events, without their frames: a part of them, so that others get their turns.
--
-- KEYS[1] log   ARGV[1] the id to begin at ('-', '+' or '(id' as in XRANGE)   ARGV[2] bytes of frames that may be read
-- Returns {1 if more follow, then for each event its id and its deadline in ms ('' if it has none)}.
local from, room = ARGV[1], tonumber(ARGV[2])
local found, count = {0}, 4
while true do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', count)
  local size = 0
  for _, entry in ipairs(entries) do
    found[#found + 1] = entry[1]
    found[#found + 1] = entry[2][6] or ''
    size = size + 100 + #entry[2][2]
  end
  if #entries < count then return found end
  from, room = '(' .. entries[#entries][1], room - size
  if room <= 0 then
    found[1] = 1
    return found
  end
  count = math.max(1, math.min(4 * count, math.floor(room * #entries / size)))
end
