-- Append what generations say, each unless it has ended. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3...] for each: its record, its log, its tail
-- ARGV[1] seconds kept   ARGV[2...] for each: the number of this write, rising from 1, how many frames follow, and these
--
-- Returns the state of each ('' if there is no such record, 'broken' if what it needs is not what it should be, 'taken' if
-- another worker goes on with it). A write that came before does nothing: its number is noted first, and taken back if
-- the log refuses it. The numbers of each worker that has the generation have a billion of their own; see claim.lua.
local count, counted = 0, 2
while counted < #ARGV do
  count = count + ARGV[counted + 1]
  counted = counted + 2 + ARGV[counted + 1]
end
local next_id = draw_many(KEYS[1], KEYS[2], count)

local epoch -- of the first frame, and so of all
local function add(log, tail, frame, seconds)
  local refused, current = append(next_id(), KEYS[2], log, tail, frame, nil, seconds, ARGV[1], '0', nil, epoch)
  epoch = current
  return refused
end

local function say(name, log, tail, number, first, last)
  local record = redis.call('HMGET', name, 'state', 'seq')
  if record[1] == 'running' and number < record[2] - record[2] % 1e9 then return 'taken' end
  if record[1] == 'running' and tonumber(record[2]) < number then
    redis.call('HSET', name, 'seq', number)
    local seconds, refused = record[2] % 1e9 == 0 and ARGV[1]
    for i = first, last do
      local done, problem = pcall(add, log, tail, ARGV[i], seconds)
      if not done and i == first then -- nothing was said
        redis.call('HSET', name, 'seq', record[2])
        error(problem)
      end
      refused = refused or problem
    end
    if refused then error(refused) end
  end
  return record[1] or ''
end

local states = {}
local at = 2
for i = 3, #KEYS, 3 do
  local last = at + 1 + tonumber(ARGV[at + 1])
  local done, state = pcall(say, KEYS[i], KEYS[i + 1], KEYS[i + 2], tonumber(ARGV[at]), at + 2, last)
  states[#states + 1] = done and state or 'broken'
  at = last + 1
end
return states
