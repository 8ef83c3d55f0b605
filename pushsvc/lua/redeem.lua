-- Swap a fresh ticket for a spent one, or recognise a spent one.
--
-- KEYS[1] the fresh ticket   KEYS[2] the spent ticket
-- ARGV[1] '1' to spend a fresh one, '0' to look at spent ones only   ARGV[2] seconds a spent one is remembered
-- Returns {claims, 1} if it was fresh, {claims, 0} if it was spent before, false if it is neither.
local claims = ARGV[1] == '1' and redis.call('GETDEL', KEYS[1])
if claims then
  redis.call('SET', KEYS[2], claims, 'EX', ARGV[2])
  return {claims, 1}
end
claims = redis.call('GET', KEYS[2])
return claims and {claims, 0}
