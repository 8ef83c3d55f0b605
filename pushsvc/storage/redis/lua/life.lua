#!lua flags=allow-oom
-- Begin another life of the data, if another process of Redis has it than before, or the same as a master anew. Run on
-- each new connection, so that nothing can be appended in a life that is not noted.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] the process that had the data last
-- ARGV[1] the process that is asked, see fencing.py   ARGV[2] how many lives are remembered
--
-- Appends "<last id of the life before> <first id of this one>" to the epoch: no event has an id between these two, so
-- a cursor there is of events that the data lost. Returns the epoch, or nothing where there is none yet.
local lives = redis.pcall('GET', KEYS[2])
if type(lives) == 'table' and not string.find(lives.err, '^WRONGTYPE') then return lives end -- it may be there
if redis.pcall('GET', KEYS[3]) == ARGV[1] then return type(lives) == 'string' and lives or nil end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then -- else the clock is yet to be born
  if type(lives) ~= 'string' then lives = last[1] end
  lives = lives .. ' ' .. last[1] .. ' ' .. redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', '', '')
  local _, blanks = string.gsub(lives, ' ', '')
  if blanks > 2 * ARGV[2] then -- a loss stays known: all before it then counts as other data
    local lost = string.match(lives, '^%S+ %S+ (%S+)! ')
    lives = string.gsub(lives, lost and '^%S+ %S+ %S+' or '^(%S+) %S+ %S+', lost or '%1', 1)
  end
  redis.call('SET', KEYS[2], lives)
end
-- Last: if one of these is refused, who asks next begins the life. One that is noted twice does no harm.
redis.call('SET', KEYS[3], ARGV[1])
return last and lives or nil
