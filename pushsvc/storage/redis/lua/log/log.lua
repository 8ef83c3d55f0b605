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

-- Draw ids for as many events as `count`, and give the function that yields them, each time the next. The clock moves past
-- all of them with the first. Some may stay unused: nothing is at them then.
local function draw_many(clock, epoch, count)
  local ms, at, last = nil, 0, 0
  return function()
    count = count - 1
    if at < last then
      at = at + 1
      return ms .. '-' .. string.format('%.0f', at)
    end
    local id = draw(clock, epoch)
    local first, seq = string.match(id, '^(%d+)-(%d+)$')
    if count > 1 and #seq < 15 then -- else the numbers may be too large to count with
      local top = seq + count
      local moved = redis.pcall('XADD', clock, 'MAXLEN', 1, first .. '-' .. string.format('%.0f', top), '', '')
      if type(moved) == 'string' then ms, at, last = first, tonumber(seq), top end
    end
    return id
  end
end

-- Append the event with this id, just drawn, and announce it. `kept` is how many events the log may hold, nil for all;
-- `seconds` how long the log is kept from now on, nil or false for as long as it is already; `ttl` is in seconds, '0'
-- for none; `before` is what the tail holds, nil where that is not known; `known` is the epoch that an append before it in
-- the same script returned, nil if there was none. Returns what Redis refused after the event was in the log, or nil; and
-- the epoch it is in, '-' if that is not known.
--
-- Each entry carries the id of its predecessor in the channel. That chain is how any reader, of the log or of
-- the announcements, finds that something between two events is missing. An announcement also says in which epoch
-- it was made.
--
-- Redis does not undo what a script did before a command that it refuses (an account without the right to it). So the
-- first command that changes anything decides: it raises, and there is no event; after it everything else is done that
-- can be, and the refusal comes last, when callers have noted that the event is there.
local function append(id, epoch, log, tail, frame, kept, seconds, tail_seconds, ttl, before, known)
  local refused
  local function try(...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then refused = refused or answer end
  end
  if before == nil then before = redis.pcall('GET', tail) end
  if type(before) == 'table' and not string.find(before.err, '^WRONGTYPE') then error(before) end
  if type(before) ~= 'string' then before = '0-0' end
  -- What is in the log and was not announced nobody would hear who listens now: readers count all up to a clock as heard.
  if not known and redis.acl_check_cmd and not redis.acl_check_cmd('SPUBLISH', log, '') then
    error({err = 'NOPERM the account may not SPUBLISH on the channels of the logs'})
  end
  local most = kept or '9223372036854775807'
  if ttl == '0' then
    redis.call('XADD', log, 'MAXLEN', most, id, 'f', frame, 'p', before)
  else -- by the clock: after it was set back, ids are ahead of it
    local time = redis.call('TIME')
    local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + ttl * 1000
    redis.call('XADD', log, 'MAXLEN', most, id, 'f', frame, 'p', before, 'x', string.format('%.0f', deadline))
  end
  try('SET', tail, id, 'EX', tail_seconds)
  -- By age once a second, for readers look at the time themselves: ten digits of an id are its second.
  if kept and string.sub(id, 1, 10) ~= string.sub(before, 1, 10) then
    local ms = tonumber(string.match(id, '^%d+'))
    try('XTRIM', log, 'MINID', string.format('%.0f', math.max(0, ms - seconds * 1000)))
  end
  if seconds then try('EXPIRE', log, seconds) end
  -- A cluster's nodes pass on what a master announces that was away and does not know yet that it was replaced.
  local current = known or redis.pcall('GETRANGE', epoch, -42, -1) -- the longest id, and a mark
  current = type(current) == 'string' and string.match(current, '([%d-]+)!?$') or '-' -- deleted: the log tells
  try('SPUBLISH', log, id .. ' ' .. before .. ' ' .. current .. ' ' .. frame)
  return refused, current
end
