-- Append one event to a channel's log and announce it. After counting.lua, log.lua and once.lua.
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

local found = key and repeated(key)
if found then
  if found.err then uncount() end
  return found
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
local answer, absent = append_once(
  key, ARGV[6], KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], before)
if absent then
  uncount()
  if fresh then counted(#KEYS, -1, 9 + each, #ARGV) end
elseif lapsed and not answer.err then
  answer[3], answer[4] = answer[3] or '', lapsed
end
return answer
