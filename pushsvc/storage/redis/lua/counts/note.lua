#!lua flags=allow-oom
-- Note when a stream of a user began, beside the worker's others: what of these is noted no more has given way.
--
-- KEYS[1] when the user's streams began that can give way: worker id -> Unix times in microseconds, rising
-- ARGV[1] the worker's id   ARGV[2] the time   ARGV[3] seconds until what is untouched is forgotten
-- Returns nothing.
local noted = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], noted and noted .. ' ' .. ARGV[2] or ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
