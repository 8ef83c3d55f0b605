-- Begin a generation, unless one with the same idempotency key runs, or is complete. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log of the user's feed   KEYS[4] its tail
-- KEYS[5] record   KEYS[6] the user's generations   KEYS[7] those of them that run
-- KEYS[8] what this worker generates   KEYS[9] workers that generate
-- KEYS[10] idempotency key, KEYS[11] record of ARGV[7]; both only where there is such a key
-- ARGV[1] id   ARGV[2] worker   ARGV[3] seconds kept   ARGV[4] generations kept of a user
-- ARGV[5] most that may run of a user   ARGV[6] seconds a key is remembered
-- ARGV[7] the generation that has the key, as far as the caller knows, or '', or '-': whoever has it   ARGV[8] frame for the feed
-- ARGV[9] seconds the feed is kept   ARGV[10] most that are named as too many
-- ARGV[11...] fields of the record and their values
--
-- Returns {'begun', those of the user's that are too many, the oldest...}, {'known'} if ARGV[7] runs or is complete, or
-- where nothing was done {'other', the generation that has the key}, {'full'} if too many run.
if KEYS[10] and ARGV[7] ~= '-' then
  local first = redis.call('GET', KEYS[10])
  if first and first ~= ARGV[7] then return {'other', first} end
  local state = first and redis.call('HGET', KEYS[11], 'state')
  if state == 'running' or state == 'completed' then return {'known'} end -- what failed was not done, and is asked again
end
if redis.call('SCARD', KEYS[7]) >= tonumber(ARGV[5]) then return {'full'} end

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
redis.call('HSET', KEYS[5], 'state', 'running', 'seq', 0, 'worker', ARGV[2], 'created', now, unpack(ARGV, 11))
redis.pcall('EXPIRE', KEYS[5], ARGV[3])
redis.pcall('ZREMRANGEBYSCORE', KEYS[6], '-inf', ms - ARGV[3] * 1000)
pcall(function()
  append(draw(KEYS[1], KEYS[2]), KEYS[2], KEYS[3], KEYS[4], ARGV[8], 100, ARGV[9], ARGV[9], '0')
end)
local many = redis.pcall('ZCARD', KEYS[6])
if type(many) ~= 'number' or many <= tonumber(ARGV[4]) then return {'begun'} end
local oldest = redis.pcall('ZRANGE', KEYS[6], 0, math.min(many - ARGV[4], ARGV[10]) - 1)
return {'begun', unpack(oldest.err and {} or oldest)}
