-- Count a new connection of a user in, unless the user has as many as one may have.
--
-- KEYS[1] the user's connections: worker id -> count
-- ARGV[1] this worker's id   ARGV[2] its count with the new one   ARGV[3] most connections of one user
-- ARGV[4] prefix of the keys that say a worker lives   ARGV[5] seconds until an untouched count is forgotten
-- Returns 1 if counted in, 0 if there are too many. Counts of workers that died are dropped.
local held = redis.call('HGETALL', KEYS[1])
local total = tonumber(ARGV[2])
for i = 1, #held, 2 do
  if held[i] ~= ARGV[1] then
    if redis.call('EXISTS', ARGV[4] .. held[i]) == 1 then
      total = total + held[i + 1]
    else
      redis.call('HDEL', KEYS[1], held[i])
    end
  end
end
if total > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
