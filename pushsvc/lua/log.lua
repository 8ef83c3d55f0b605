-- Appending to a channel's log: comes before the scripts that do.
--
-- One clock for all channels: ids rise in commit order, even when the wall clock steps back.
local function draw(clock, epoch)
  local id = redis.call('XADD', clock, 'NOMKSTREAM', 'MAXLEN', 1, '*', '', '')
  if not id then -- the clock's first id is its birth; the event gets the next, so that every event is after it
    redis.call('SET', epoch, redis.call('XADD', clock, '*', '', ''))
    id = redis.call('XADD', clock, 'MAXLEN', 1, '*', '', '')
  end
  return id
end

-- Append one event and announce it. `kept` is how many events the log may hold, nil for all; `seconds` how long the
-- log is kept from now on, nil or false for as long as it is already; `ttl` is in seconds, '0' for none. Returns the
-- event's id.
--
-- Each entry carries the id of its predecessor in the channel. That chain is how any reader, of the log or of
-- the announcements, finds that something between two events is missing. All or nothing: the one command that a key of
-- somebody else's can refuse is the first that changes anything but the clock. An announcement also says in which life
-- of the data it was made.
local function append(clock, epoch, log, tail, frame, kept, seconds, tail_seconds, ttl)
  local id = draw(clock, epoch)
  local before = redis.pcall('GET', tail)
  if type(before) ~= 'string' then before = '0-0' end
  local ms = tonumber(string.match(id, '^%d+'))
  if ttl == '0' then
    redis.call('XADD', log, id, 'f', frame, 'p', before)
  else
    redis.call('XADD', log, id, 'f', frame, 'p', before, 'x', string.format('%.0f', ms + ttl * 1000))
  end
  redis.call('SET', tail, id, 'EX', tail_seconds)
  if kept then
    redis.call('XTRIM', log, 'MAXLEN', kept)
    redis.call('XTRIM', log, 'MINID', string.format('%.0f', math.max(0, ms - seconds * 1000)))
  end
  if seconds then redis.call('EXPIRE', log, seconds) end
  -- A cluster's nodes pass on what a master announces that was away and does not know yet that it was replaced.
  local life = redis.pcall('GETRANGE', epoch, -42, -1) -- the longest id, and a mark
  life = type(life) == 'string' and string.match(life, '([%d-]+)!?$') or '-' -- somebody deleted it: the log tells
  redis.call('SPUBLISH', log, id .. ' ' .. before .. ' ' .. life .. ' ' .. frame)
  return id
end
