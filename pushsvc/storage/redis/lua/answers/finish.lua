-- Append the last that a generation says, and its ending, unless it has ended already. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] record
-- KEYS[6] what its worker generates   KEYS[7] log of the user's feed   KEYS[8] its tail   KEYS[9] the user's that run
-- ARGV[1] whether this is its own worker's   ARGV[2] seconds kept   ARGV[3] ending   ARGV[4] id
-- ARGV[5] frame for the feed   ARGV[6] seconds the feed is kept   ARGV[7] number of frames   ARGV[8...] frames
-- and then fields of the record and their values, the first of which is its worker
--
-- Returns the state that it has now ('' if there is no such record), 'taken' if another worker has it by now.
local state, worker = unpack(redis.call('HMGET', KEYS[5], 'state', 'worker'))
if state and state ~= 'running' then return state end
if not state and ARGV[1] == '0' then return '' end
local frames = tonumber(ARGV[7])
if state and worker and worker ~= ARGV[9 + frames] then return 'taken' end
if state then -- first: an ending that was said and not noted would be said again
  local time = redis.call('TIME')
  local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[5], 'state', ARGV[3], 'ended', ms, unpack(ARGV, 8 + frames))
end
for i = 8, 7 + frames do -- also if the record expired, or was lost: its producer tells who listens that it is over
  local done, problem = pcall(function()
    return append(draw(KEYS[1], KEYS[2]), KEYS[2], KEYS[3], KEYS[4], ARGV[i], nil, ARGV[2], ARGV[2], '0')
  end)
  if not done and i == 8 then
    if state then redis.call('HSET', KEYS[5], 'state', 'running') end
    error(problem)
  end
end
-- What is refused from here on undoes no ending.
redis.pcall('SREM', KEYS[6], ARGV[4])
redis.pcall('SREM', KEYS[9], ARGV[4])
if not state then return '' end
redis.pcall('EXPIRE', KEYS[5], ARGV[2])
pcall(function()
  append(draw(KEYS[1], KEYS[2]), KEYS[2], KEYS[7], KEYS[8], ARGV[5], 100, ARGV[6], ARGV[6], '0')
end)
return ARGV[3]
