-- Append what generations say, each unless it has ended. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch
-- ARGV[1] seconds kept   ARGV[2], ARGV[3], ARGV[4] prefixes of records, logs and tails
-- ARGV[5...] for each: its id, the number of this write, rising from 1, how many frames follow, and these
--
-- Returns the state of each ('' if there is no such record, 'broken' if what it needs is not what it should be). A write
-- that came before does nothing.
local function say(id, number, first, last)
  local record = redis.call('HMGET', ARGV[2] .. id, 'state', 'seq')
  if record[1] == 'running' and tonumber(record[2]) < number then
    local log, tail = ARGV[3] .. id, ARGV[4] .. id
    for i = first, last do
      append(KEYS[1], KEYS[2], log, tail, ARGV[i], nil, record[2] == '0' and ARGV[1], ARGV[1], '0')
    end
    redis.call('HSET', ARGV[2] .. id, 'seq', number)
  end
  return record[1] or ''
end

local states = {}
local at = 5
while ARGV[at] do
  local last = at + 2 + tonumber(ARGV[at + 2])
  local done, state = pcall(say, ARGV[at], tonumber(ARGV[at + 1]), at + 3, last)
  states[#states + 1] = done and state or 'broken'
  at = last + 1
end
return states
