-- Count a new connection of a user in, unless the user has as many as one may have, and none gives way to it.
--
-- KEYS[1] the user's connections: worker id -> count
-- KEYS[2] when the user's streams began that can give way: worker id -> Unix times in microseconds, rising
-- ARGV[1] this worker's id   ARGV[2] its count with the new one   ARGV[3] most connections of one user
-- ARGV[4] prefix of the keys that say a worker lives   ARGV[5] seconds until an untouched count is forgotten
-- ARGV[6] 1 if others may give way to it   ARGV[7] the times of this worker's own streams; '': as noted before
-- Returns {1 if counted in, 2 if others are to give way, 0 if there are too many; the time now}. What is known of
-- workers that died is dropped.
local held = redis.call('HGETALL', KEYS[1])
local total = tonumber(ARGV[2])
local alive = {}
for i = 1, #held, 2 do
  if held[i] ~= ARGV[1] then
    if redis.call('EXISTS', ARGV[4] .. held[i]) == 1 then
      total = total + held[i + 1]
      alive[#alive + 1] = held[i]
    else
      redis.call('HDEL', KEYS[1], held[i])
      redis.call('HDEL', KEYS[2], held[i])
    end
  end
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local over = total > tonumber(ARGV[3])
if over then
  local some = ARGV[6] == '1' and (ARGV[7] ~= '' or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1)
  for _, worker in ipairs(ARGV[6] == '1' and alive or {}) do
    some = some or redis.call('HEXISTS', KEYS[2], worker) == 1
  end
  if not some then return {0, now} end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {over and 2 or 1, now}
