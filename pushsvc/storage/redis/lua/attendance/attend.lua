-- Write down which names came to a worker and which left it. After turnout.lua. Harmless when repeated.
--
-- KEYS[1] the worker's names   KEYS[2] who   KEYS[3] away   KEYS[4] hooks   KEYS[5] ids   KEYS[6] workers that have names
-- ARGV[1] the worker   ARGV[2] ms for which a name must be away before that is told   ARGV[3] how many came
-- ARGV[4...] these names, then those that left
-- Returns how many names the worker has now.
local ms, came = now(), tonumber(ARGV[3])
redis.call('SADD', KEYS[6], ARGV[1])
for i = 4, 3 + came do
  if redis.call('ZADD', KEYS[1], 0, ARGV[i]) == 1 then
    local known = redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1
    redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
    redis.call('ZREM', KEYS[3], ARGV[i])
    if not known then tell(KEYS[4], KEYS[5], ms, 'came', ARGV[i]) end
  end
end
for i = 4 + came, #ARGV do left(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2]), ms, ARGV[i]) end
return redis.call('ZCARD', KEYS[1])
