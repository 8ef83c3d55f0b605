-- Swap a fresh ticket for a spent one.
--
-- KEYS[1] the fresh ticket   KEYS[2] the spent ticket   ARGV[1] seconds a spent one is remembered
-- Returns 1, or 0 if there is no such fresh ticket.
local claims = redis.call('GETDEL', KEYS[1])
if not claims then return 0 end
redis.call('SET', KEYS[2], claims, 'EX', ARGV[1])
return 1
