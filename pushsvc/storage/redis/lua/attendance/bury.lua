-- Take names from a worker that has died, so many at a time. After turnout.lua.
--
-- KEYS[1] the worker's names   KEYS[2] who   KEYS[3] away   KEYS[4] workers that have names   KEYS[5] the worker's lease
-- ARGV[1] the worker   ARGV[2] ms for which a name must be away before that is told   ARGV[3] most names
-- Returns how many names it still has; 0 also if it lives.
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
local ms = now()
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1)) do
  left(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2]), ms, name)
end
local rest = redis.call('ZCARD', KEYS[1])
if rest == 0 then redis.call('SREM', KEYS[4], ARGV[1]) end
return rest
