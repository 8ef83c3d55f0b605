#!lua flags=allow-oom
-- Note that a stream of a user stands. If the user has too many connections, the oldest streams give way, of whichever
-- worker: each is told, and finds out what to end even if that word gets lost.
--
-- KEYS[1] the user's connections: worker id -> count
-- KEYS[2] when the user's streams began that can give way: worker id -> Unix times in microseconds, rising
-- ARGV[1] this worker's id   ARGV[2] its count   ARGV[3] the times of its own streams; '': as noted before
-- ARGV[4] seconds until an untouched count is forgotten
-- ARGV[5] most connections of one user; empty: nobody need give way
-- ARGV[6] the time of the new stream, which stays   ARGV[7] most streams that give way
-- ARGV[8] prefix of the keys that say a worker lives   ARGV[9] prefix of the lists of what a worker has to end
-- ARGV[10] prefix of the channels on which workers are told   ARGV[11] the word
-- ARGV[12] seconds for which such a list is kept   ARGV[13] the user, as in that list
-- Returns nothing.
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
if ARGV[5] == '' then return end

local total = tonumber(ARGV[2])
local times = {}
local function note(worker, text)
  times[worker] = {}
  for each in string.gmatch(text or '', '%d+') do table.insert(times[worker], each) end
end
note(ARGV[1], ARGV[3] ~= '' and ARGV[3] or redis.call('HGET', KEYS[2], ARGV[1]))
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  if held[i] ~= ARGV[1] and redis.call('EXISTS', ARGV[8] .. held[i]) == 1 then
    total = total + held[i + 1]
    note(held[i], redis.call('HGET', KEYS[2], held[i]))
  end
end
for _ = 1, math.min(total - tonumber(ARGV[5]), tonumber(ARGV[7])) do
  local oldest, place
  for worker, list in pairs(times) do
    for number, each in ipairs(list) do
      if each ~= ARGV[6] and (not oldest or tonumber(each) < tonumber(times[oldest][place])) then
        oldest, place = worker, number
      end
    end
  end
  if not oldest then return end
  redis.call('RPUSH', ARGV[9] .. oldest, ARGV[13] .. ' ' .. table.remove(times[oldest], place))
  redis.call('EXPIRE', ARGV[9] .. oldest, ARGV[12])
  redis.call('SPUBLISH', ARGV[10] .. oldest, ARGV[11])
  if #times[oldest] > 0 then
    redis.call('HSET', KEYS[2], oldest, table.concat(times[oldest], ' '))
  else
    redis.call('HDEL', KEYS[2], oldest)
  end
  if redis.call('HEXISTS', KEYS[1], oldest) == 1 then redis.call('HINCRBY', KEYS[1], oldest, -1) end
end
