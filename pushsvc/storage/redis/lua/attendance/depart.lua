-- Tell of names that have been away for long enough, so many at a time. After turnout.lua.
--
-- KEYS[1] who   KEYS[2] away   KEYS[3] hooks   KEYS[4] ids   ARGV[1] most names
-- Returns how many were looked at.
local ms = now()
local names = redis.call('ZRANGE', KEYS[2], '-inf', ms, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, name in ipairs(names) do
  redis.call('ZREM', KEYS[2], name)
  if tonumber(redis.call('HGET', KEYS[1], name) or 0) <= 0 and redis.call('HDEL', KEYS[1], name) == 1 then
    tell(KEYS[3], KEYS[4], ms, 'went', name)
  end
end
return #names
