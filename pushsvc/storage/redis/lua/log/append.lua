-- Append one event to a channel's log and announce it. After counting.lua and log.lua.
--
-- Where Redis refuses a command, an event with a key is not there, or a repetition finds that it is: the key is written
-- first, and taken back if the log refuses the event.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] dedupe key, only where the event has one
-- ARGV[1] frame   ARGV[2] events kept   ARGV[3] seconds kept   ARGV[4] seconds the tail is kept
-- ARGV[5] ttl in seconds, 0 for none   ARGV[6] seconds a key is remembered
-- Where rates are kept: ARGV[7] how many KEYS those were, after which come the hashes of counts, and ARGV[8] how many of
-- the words from ARGV[9] on are the rates that each event counts for (0: none, and no hash); the others are those for
-- which it counts if its channel is new. What is not appended counts for none. What Redis does not count passes.
--
-- Returns {id, 0, the epoch it is in ('' if that is not known), what Redis refused of the counts} for a new event, and
-- less where the last are not there; {the first id, 1} for a repeated key (nothing happens then); {'', whether the
-- channel is new, the rate that is met, from 1, ms after which the same may be tried}.
local own = tonumber(ARGV[7] or #KEYS)
local each = tonumber(ARGV[8] or 0)
local key = own > 4 and KEYS[5]
local lapsed

-- Count one, or less one, for the hash at this place. Returns the rate that is met, and the ms to wait; 0: none.
local function counted(place, cost, first, last)
  local done, met, wait = pcall(count, KEYS[place], cost, ARGV, first, last)
  if done then return met, wait end
  lapsed = type(met) == 'table' and met.err or met
  return 0, 0
end

if each > 0 then
  local met, wait = counted(own + 1, 1, 9, 8 + each)
  if met > 0 then return {'', 0, met, wait} end
end
-- Take back what was counted for an event that is not appended.
local function uncount()
  if each > 0 then counted(own + 1, -1, 9, 8 + each) end
end

if key then
  local first = redis.pcall('GET', key)
  if type(first) == 'table' and not string.find(first.err, '^WRONGTYPE') then
    uncount()
    return first
  end
  if type(first) == 'string' and first ~= '?' then
    -- Written anew, as it is: a WAIT after it then waits until the replicas have what was written before.
    local left = redis.pcall('PTTL', key)
    if type(left) == 'number' and left > 0 then redis.pcall('PEXPIRE', key, left) end
    return {first, 1}
  end
end
local before, fresh
if ARGV[7] and 8 + each < #ARGV then
  before = redis.pcall('GET', KEYS[4])
  if not before then
    local met, wait = counted(#KEYS, 1, 9 + each, #ARGV)
    if met > 0 then
      uncount()
      return {'', 1, met, wait}
    end
    fresh = true
  end
end
local done, id = pcall(draw, KEYS[1], KEYS[2])
local refused, current = id
if done and key then done, refused = pcall(redis.call, 'SET', key, id, 'EX', ARGV[6]) end
local stored = done
if done then
  done, refused, current = pcall(append, id, KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], before)
end
if not done then
  if key and stored then redis.pcall('SET', key, '?', 'EX', ARGV[6]) end -- not DEL, to which there may be no right
  uncount()
  if fresh then counted(#KEYS, -1, 9 + each, #ARGV) end
  return type(refused) == 'table' and refused or redis.error_reply(refused)
end
if refused then return refused end
if lapsed then return {id, 0, current ~= '-' and current or '', lapsed} end
return {id, 0, current ~= '-' and current or nil}
