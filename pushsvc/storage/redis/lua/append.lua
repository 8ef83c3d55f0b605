-- Append one event to a channel's log and announce it. After log.lua.
--
-- Where Redis refuses a command, an event with a key is not there, or a repetition finds that it is: the key is written
-- first, and taken back if the log refuses the event.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] dedupe key, only where the event has one
-- ARGV[1] frame   ARGV[2] events kept   ARGV[3] seconds kept   ARGV[4] seconds the tail is kept
-- ARGV[5] ttl in seconds, 0 for none   ARGV[6] seconds a key is remembered
--
-- Returns {id, 0, the epoch it is in, if that is known} for a new event, {the first id, 1} for a repeated key
-- (nothing happens then).
if KEYS[5] then
  local first = redis.pcall('GET', KEYS[5])
  if type(first) == 'table' and not string.find(first.err, '^WRONGTYPE') then return first end
  if type(first) == 'string' and first ~= '?' then
    -- Written anew, as it is: a WAIT after it then waits until the replicas have what was written before.
    local left = redis.pcall('PTTL', KEYS[5])
    if type(left) == 'number' and left > 0 then redis.pcall('PEXPIRE', KEYS[5], left) end
    return {first, 1}
  end
end
local id = draw(KEYS[1], KEYS[2])
if KEYS[5] then redis.call('SET', KEYS[5], id, 'EX', ARGV[6]) end
local done, refused, current = pcall(append, id, KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
if not done then
  if KEYS[5] then redis.pcall('SET', KEYS[5], '?', 'EX', ARGV[6]) end -- not DEL, to which there may be no right
  return type(refused) == 'table' and refused or redis.error_reply(refused)
end
return refused or {id, 0, current ~= '-' and current or nil}
