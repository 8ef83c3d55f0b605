#!lua flags=allow-oom
-- A stream of a user stands that has too many connections: the oldest streams give way, of whichever worker. Each is
-- told, and finds out what to end even if that word gets lost.
--
-- KEYS[1] the user's connections: worker id -> count
-- KEYS[2] when the user's streams began that can give way: worker id -> Unix times in microseconds, rising
-- KEYS[3...] for each of the workers of ARGV[7...]: what says that it lives, the list of what it has to end, and the
-- channel on which it is told
-- ARGV[1] most connections of one user   ARGV[2] the time of the new stream, which stays
-- ARGV[3] most streams that give way   ARGV[4] the word   ARGV[5] seconds for which a list is kept
-- ARGV[6] the user, as in that list   ARGV[7...] workers; the first is the new stream's
-- Returns the workers without which that cannot be said: nothing was done, and it is to be called again with them, too.
-- One that is not among ARGV then counts as alive, and has nothing that gives way.
local first = {} -- of each worker's keys
for i = 7, #ARGV do first[ARGV[i]] = 3 * (i - 6) end
local total = 0
local times = {}
local unknown = {}
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local worker = held[i]
  if not first[worker] then
    unknown[#unknown + 1] = worker
    total = total + held[i + 1]
  elseif worker == ARGV[7] or redis.call('EXISTS', KEYS[first[worker]]) == 1 then
    total = total + held[i + 1]
    times[worker] = {}
    for each in string.gmatch(redis.call('HGET', KEYS[2], worker) or '', '%d+') do table.insert(times[worker], each) end
  end
end
if total > tonumber(ARGV[1]) and #unknown > 0 and #ARGV == 7 then return unknown end

for _ = 1, math.min(total - tonumber(ARGV[1]), tonumber(ARGV[3])) do
  local oldest, place
  for worker, list in pairs(times) do
    for number, each in ipairs(list) do
      if each ~= ARGV[2] and (not oldest or tonumber(each) < tonumber(times[oldest][place])) then
        oldest, place = worker, number
      end
    end
  end
  if not oldest then break end
  local list, channel = KEYS[first[oldest] + 1], KEYS[first[oldest] + 2]
  redis.call('RPUSH', list, ARGV[6] .. ' ' .. table.remove(times[oldest], place))
  redis.call('EXPIRE', list, ARGV[5])
  redis.call('SPUBLISH', channel, ARGV[4])
  if #times[oldest] > 0 then
    redis.call('HSET', KEYS[2], oldest, table.concat(times[oldest], ' '))
  else
    redis.call('HDEL', KEYS[2], oldest)
  end
  if redis.call('HEXISTS', KEYS[1], oldest) == 1 then redis.call('HINCRBY', KEYS[1], oldest, -1) end
end
return {}
