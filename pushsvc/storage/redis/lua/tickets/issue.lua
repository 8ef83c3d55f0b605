-- Store a ticket, unless its user has as many unspent ones as one may have.
--
-- KEYS[1] the ticket   KEYS[2] the user's unspent tickets, by the time at which they expire
-- ARGV[1] the ticket's digest   ARGV[2] its claims   ARGV[3] seconds in which it may be used
-- ARGV[4] most unspent tickets of a user   ARGV[5] most seconds that a ticket may be used in
-- Returns 0, or the ms until the next of the tickets expires: nothing was stored.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return math.max(1, redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] - now)
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3] * 1000), ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 0
