#!lua flags=allow-oom
-- Begin another epoch of the data, if another process of Redis has it than before, or the same as a master anew. Run on
-- each new connection, so that nothing can be appended in an epoch that is not recorded.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] the process that had the data last
-- ARGV[1] the process that is asked, see fencing.py   ARGV[2] how many epochs are remembered
--
-- Appends "<last id of the epoch before> <first id of this one>" to the history: no event has an id between these two,
-- so a cursor there is of events that the data lost. Returns the history, or nothing where there is none yet.
local epochs = redis.pcall('GET', KEYS[2])
if type(epochs) == 'table' and not string.find(epochs.err, '^WRONGTYPE') then return epochs end -- it may be there
if redis.pcall('GET', KEYS[3]) == ARGV[1] then return type(epochs) == 'string' and epochs or nil end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then -- else the clock is yet to be born
  if type(epochs) ~= 'string' then epochs = last[1] end
  epochs = epochs .. ' ' .. last[1] .. ' ' .. redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', '', '')
  local _, blanks = string.gsub(epochs, ' ', '')
  if blanks > 2 * ARGV[2] then -- a loss stays known: all before it then counts as other data
    local lost = string.match(epochs, '^%S+ %S+ (%S+)! ')
    epochs = string.gsub(epochs, lost and '^%S+ %S+ %S+' or '^(%S+) %S+ %S+', lost or '%1', 1)
  end
  redis.call('SET', KEYS[2], epochs)
end
-- Last: if one of these is refused, who asks next begins the epoch. One that is recorded twice does no harm.
redis.call('SET', KEYS[3], ARGV[1])
return last and epochs or nil
