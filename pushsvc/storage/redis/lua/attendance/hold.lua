-- Hold a place that only one worker may have at a time.
--
-- KEYS[1] the place   ARGV[1] the worker   ARGV[2] ms for which it holds it   ARGV[3] '1' to give it up
-- Returns 1 if the worker holds it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
