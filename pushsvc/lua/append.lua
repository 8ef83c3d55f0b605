-- Append one event to a channel's log and announce it; all or nothing.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] dedupe key, only where the event has one
-- ARGV[1] frame   ARGV[2] events kept   ARGV[3] seconds kept   ARGV[4] seconds the tail is kept
-- ARGV[5] ttl in seconds, 0 for none   ARGV[6] seconds a key is remembered
--
-- Returns {id, 0} for a new event, {the first id, 1} for a repeated key (nothing happens then).
--
-- Each entry carries the id of its predecessor in the channel. That chain is how any reader, of the log or of
-- the announcements, finds that something between two events is missing.
if KEYS[5] then
  local first = redis.call('GET', KEYS[5])
  if first then return {first, 1} end
end

-- One clock for all channels: ids rise in commit order, even when the wall clock steps back.
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', 1, '*', '', '')
if not id then -- the clock's first id is its birth; the event gets the next, so that every event is after it
  redis.call('SET', KEYS[2], redis.call('XADD', KEYS[1], '*', '', ''))
  id = redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', '', '')
end

local before = redis.call('SET', KEYS[4], id, 'EX', ARGV[4], 'GET') or '0-0'
local ms = tonumber(string.match(id, '^%d+'))
if ARGV[5] == '0' then
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[2], id, 'f', ARGV[1], 'p', before)
else
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[2], id, 'f', ARGV[1], 'p', before,
    'x', string.format('%.0f', ms + ARGV[5] * 1000))
end
redis.call('XTRIM', KEYS[3], 'MINID', string.format('%.0f', math.max(0, ms - ARGV[3] * 1000)))
redis.call('EXPIRE', KEYS[3], ARGV[3])
if KEYS[5] then redis.call('SET', KEYS[5], id, 'EX', ARGV[6]) end
redis.call('PUBLISH', KEYS[3], id .. ' ' .. before .. ' ' .. ARGV[1])
return {id, 0}
