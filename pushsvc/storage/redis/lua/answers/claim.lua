-- Take a generation over from its worker, if that still has it. From then on nothing that worker writes is taken.
--
-- KEYS[1] record   KEYS[2] what its worker generates   KEYS[3] what the new worker generates   KEYS[4] workers that generate
-- ARGV[1] id   ARGV[2] its worker   ARGV[3] the new worker   ARGV[4] how often it may be taken over
--
-- Returns {how often it was taken over, its age in ms}; where nothing was done {0} if it has ended, or is another
-- worker's by now, and {-1} if it was taken over too often.
local held = redis.call('HMGET', KEYS[1], 'state', 'worker', 'created', 'continued')
if held[1] ~= 'running' or held[2] ~= ARGV[2] then return {0} end
local times = (tonumber(held[4]) or 0) + 1
if times > tonumber(ARGV[4]) then return {-1} end
local time = redis.call('TIME')
local age = time[1] * 1000 + math.floor(time[2] / 1000) - held[3]
redis.call('SADD', KEYS[4], ARGV[3]) -- first: a worker finds what it has by these sets, and ends what does not run
redis.call('SADD', KEYS[3], ARGV[1])
-- The numbers of writes have a billion for each worker that had the generation; see say.lua.
redis.call('HSET', KEYS[1], 'worker', ARGV[3], 'continued', times, 'seq', string.format('%.0f', times * 1e9))
if KEYS[2] ~= KEYS[3] then redis.pcall('SREM', KEYS[2], ARGV[1]) end
return {times, age}
