-- Begin a generation, unless one was begun with the same idempotency key. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log of the user's feed   KEYS[4] its tail
-- KEYS[5] record   KEYS[6] the user's generations   KEYS[7] what this worker generates   KEYS[8] workers that generate
-- KEYS[9] idempotency key, only where there is one
-- ARGV[1] id   ARGV[2] worker   ARGV[3] seconds kept   ARGV[4] generations kept of a user
-- ARGV[5] seconds a key is remembered   ARGV[6] prefix of records   ARGV[7] frame for the feed   ARGV[8] seconds the
-- feed is kept   ARGV[9...] fields of the record and their values
--
-- Returns the id, or that of the generation begun before.
if KEYS[9] then
  local first = redis.call('GET', KEYS[9])
  local had = first and redis.call('HMGET', ARGV[6] .. first, 'state', 'seq') or {}
  -- one that was lost before it said anything does not count
  if had[1] and not (had[1] == 'producer_lost' and had[2] == '0') then return first end
end
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[5], 'state', 'running', 'seq', 0, 'worker', ARGV[2], 'created', string.format('%.0f', ms))
redis.call('HSET', KEYS[5], unpack(ARGV, 9))
redis.call('EXPIRE', KEYS[5], ARGV[3])
redis.call('ZADD', KEYS[6], ms, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -1 - ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', ms - ARGV[3] * 1000)
redis.call('EXPIRE', KEYS[6], ARGV[3])
redis.call('SADD', KEYS[7], ARGV[1])
redis.call('SADD', KEYS[8], ARGV[2])
if KEYS[9] then redis.call('SET', KEYS[9], ARGV[1], 'EX', ARGV[5]) end
append(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[7], 100, ARGV[8], ARGV[8], '0')
return ARGV[1]
