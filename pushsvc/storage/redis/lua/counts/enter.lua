#!lua flags=allow-oom
-- Count a new connection of a user in, unless the user has as many as one may have, and none gives way to it.
--
-- KEYS[1] the user's connections: worker id -> count
-- KEYS[2] when the user's streams began that can give way: worker id -> Unix times in microseconds, rising
-- KEYS[3...] what says that a worker lives, of those of ARGV[7...]
-- ARGV[1] this worker's id   ARGV[2] its count with the new one   ARGV[3] most connections of one user
-- ARGV[4] seconds until an untouched count is forgotten   ARGV[5] 1 if others may give way to it
-- ARGV[6] the times of the worker's own streams, noted or about to be; '': there are none, or too many to look at
-- ARGV[7...] other workers
-- Returns {1 if counted in, 2 if others are to give way, 0 if there are too many; the time now}, or {3, the time now,
-- workers...} if it matters whether these live: nothing was done, and it is to be called again with them. One that is
-- not among ARGV counts as alive. What is known of those that died is dropped.
local keys = {}
for i = 7, #ARGV do keys[ARGV[i]] = KEYS[i - 4] end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])

-- Those of the worker's streams that are noted no more have given way, and it does not know it yet.
local count, noted = tonumber(ARGV[2]), {}
if ARGV[6] ~= '' then
  for each in string.gmatch(redis.call('HGET', KEYS[2], ARGV[1]) or '', '%d+') do noted[each] = true end
  for each in string.gmatch(ARGV[6], '%d+') do
    if not noted[each] then count = count - 1 end
  end
end

local held = redis.call('HGETALL', KEYS[1])
local total = count
local others = {}
for i = 1, #held, 2 do
  local worker = held[i]
  if worker ~= ARGV[1] and keys[worker] and redis.call('EXISTS', keys[worker]) == 0 then
    redis.call('HDEL', KEYS[1], worker)
    redis.call('HDEL', KEYS[2], worker)
  elseif worker ~= ARGV[1] then
    total = total + held[i + 1]
    others[#others + 1] = worker
  end
end
local over = total > tonumber(ARGV[3])
if over and #ARGV < 7 and #others > 0 then return {3, now, unpack(others)} end
if over then
  local some = ARGV[5] == '1' and (ARGV[6] ~= '' or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1)
  for _, worker in ipairs(ARGV[5] == '1' and others or {}) do
    some = some or redis.call('HEXISTS', KEYS[2], worker) == 1
  end
  if not some then return {0, now} end
end
redis.call('HSET', KEYS[1], ARGV[1], count)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {over and 2 or 1, now}
