-- Append one event to a channel's log and announce it; all or nothing. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] dedupe key, only where the event has one
-- ARGV[1] frame   ARGV[2] events kept   ARGV[3] seconds kept   ARGV[4] seconds the tail is kept
-- ARGV[5] ttl in seconds, 0 for none   ARGV[6] seconds a key is remembered
--
-- Returns {id, 0} for a new event, {the first id, 1} for a repeated key (nothing happens then).
if KEYS[5] then
  local first = redis.pcall('GET', KEYS[5])
  if type(first) == 'string' then
    -- Written anew, as it is: a WAIT after it then waits until the replicas have what was written before.
    local left = redis.call('PTTL', KEYS[5])
    if left > 0 then redis.call('PEXPIRE', KEYS[5], left) end
    return {first, 1}
  end
end
local id = append(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
if KEYS[5] then redis.call('SET', KEYS[5], id, 'EX', ARGV[6]) end
return {id, 0}
