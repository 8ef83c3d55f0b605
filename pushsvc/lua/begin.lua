-- Begin a generation, unless one with the same idempotency key runs, or is complete. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log of the user's feed   KEYS[4] its tail
-- KEYS[5] record   KEYS[6] the user's generations   KEYS[7] those of them that run
-- KEYS[8] what this worker generates   KEYS[9] workers that generate
-- KEYS[10] idempotency key, only where there is one
-- ARGV[1] id   ARGV[2] worker   ARGV[3] seconds kept   ARGV[4] generations kept of a user
-- ARGV[5] most that may run of a user   ARGV[6] seconds a key is remembered
-- ARGV[7], ARGV[8], ARGV[9] prefixes of records, logs and tails   ARGV[10] frame for the feed
-- ARGV[11] seconds the feed is kept   ARGV[12...] fields of the record and their values
--
-- Returns the id, or that of the generation with this key, or '' if the user has too many that run.
if KEYS[10] then
  local first = redis.call('GET', KEYS[10])
  local state = first and redis.call('HGET', ARGV[7] .. first, 'state')
  if state == 'running' or state == 'completed' then return first end -- what failed was not done, and is asked again
end

local most = tonumber(ARGV[5])
if redis.call('SCARD', KEYS[7]) >= most then
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[7])) do -- some may have expired, and never ended
    if redis.call('HGET', ARGV[7] .. id, 'state') ~= 'running' then redis.call('SREM', KEYS[7], id) end
  end
  if redis.call('SCARD', KEYS[7]) >= most then return '' end
end

-- Forget the user's oldest, with all that belongs to them.
local function forget(ids)
  for _, id in ipairs(ids) do
    redis.call('ZREM', KEYS[6], id)
    if redis.call('HGET', ARGV[7] .. id, 'state') ~= 'running' then
      redis.call('UNLINK', ARGV[7] .. id, ARGV[8] .. id, ARGV[9] .. id)
    end
  end
end

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%.0f', ms)
-- All that may be refused comes before the record: without that there is no generation, and what was written of it means
-- nothing. With it there is one, whatever is refused after.
if KEYS[10] then redis.call('SET', KEYS[10], ARGV[1], 'EX', ARGV[6]) end
redis.call('ZADD', KEYS[6], ms, ARGV[1])
redis.call('EXPIRE', KEYS[6], ARGV[3])
for i = 7, 8 do redis.call('SADD', KEYS[i], ARGV[1]) end
redis.call('EXPIRE', KEYS[7], ARGV[3])
redis.call('SADD', KEYS[9], ARGV[2])
redis.call('HSET', KEYS[5], 'state', 'running', 'seq', 0, 'worker', ARGV[2], 'created', now, unpack(ARGV, 12))
redis.pcall('EXPIRE', KEYS[5], ARGV[3])
pcall(forget, redis.pcall('ZRANGE', KEYS[6], 0, -1 - ARGV[4]))
redis.pcall('ZREMRANGEBYSCORE', KEYS[6], '-inf', ms - ARGV[3] * 1000)
pcall(function()
  append(draw(KEYS[1], KEYS[2]), KEYS[2], KEYS[3], KEYS[4], ARGV[10], 100, ARGV[11], ARGV[11], '0')
end)
return ARGV[1]
