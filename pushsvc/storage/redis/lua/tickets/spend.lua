-- Begin the stream of a ticket: swap a fresh ticket for a spent one, or take over the stream of one that was spent just
-- now. Its earlier proof, if it had any, counts no more.
--
-- KEYS[1] the fresh ticket   KEYS[2] the spent ticket   KEYS[3] its use   KEYS[4] the digest of its proof
-- KEYS[5] the earlier proof   KEYS[6] the new proof   KEYS[7] the user's unspent tickets
-- ARGV[1] seconds a spent one is remembered   ARGV[2] ms in which it may be taken over   ARGV[3] 1 if it is fresh
-- ARGV[4] the stream's name   ARGV[5] the cursor it begins at   ARGV[6] the digest of the cookie that goes with it
-- ARGV[7] the ticket's digest   ARGV[8] digest of the earlier proof, as far as the caller knows, or ''
-- ARGV[9] digest of the new proof, or ''   ARGV[10] the session whose cookie opens the ticket again
-- Returns the name of the stream that is taken over, '' if it is the first; false if the ticket is not fresh, or the
-- moment has passed; {digest} of the earlier proof if that is another: nothing was done, and it is to be called again.
local proof = redis.call('GET', KEYS[4])
if proof and proof ~= ARGV[8] then return {proof} end
local earlier = ''
if ARGV[3] == '1' then
  local claims = redis.call('GET', KEYS[1])
  if not claims then return false end
  if ARGV[10] then claims = string.gsub(claims, '}$', ',"session":"' .. ARGV[10] .. '"}') end
  redis.call('SET', KEYS[2], claims, 'EX', ARGV[1])
  redis.call('HSET', KEYS[3], 'cursor', ARGV[5])
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
else
  earlier = redis.call('HGET', KEYS[3], 'stream')
  if not earlier then return false end
end
redis.call('HSET', KEYS[3], 'stream', ARGV[4], 'cookie', ARGV[6])
if proof then redis.call('DEL', KEYS[5], KEYS[4]) end
if ARGV[9] ~= '' then
  redis.call('SET', KEYS[4], ARGV[9], 'EX', ARGV[1])
  redis.call('SET', KEYS[6], ARGV[7], 'EX', ARGV[1])
end
redis.pcall('ZREM', KEYS[7], ARGV[7])
redis.call('DEL', KEYS[1]) -- last: what was refused before it has not cost the ticket
return earlier
