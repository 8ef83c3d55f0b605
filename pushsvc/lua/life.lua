#!lua flags=allow-oom
-- Begin another life of the data, if another process of Redis has it than before, or the same as a master anew. Run on
-- each new connection, so that nothing can be appended in a life that is not noted.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] the process that had the data last   ARGV[1] how many lives are remembered
--
-- Appends "<last id of the life before> <first id of this one>" to the epoch: no event has an id between these two, so
-- a cursor there is of events that the data lost. Returns the epoch, or nothing where there is none yet.
local info = redis.call('INFO', 'server', 'replication')
local process = string.match(info, 'run_id:(%w+)')
-- A master that has always been one has no second id; its first changes when a replica comes, which is no other life.
if not string.match(info, 'master_replid2:0+%s') then
  process = process .. ' ' .. string.match(info, 'master_replid:(%w+)')
end
local lives = redis.pcall('GET', KEYS[2])
if redis.pcall('GET', KEYS[3]) == process then return type(lives) == 'string' and lives or nil end
redis.call('SET', KEYS[3], process)
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return end -- the clock is yet to be born
if type(lives) ~= 'string' then lives = last[1] end
lives = lives .. ' ' .. last[1] .. ' ' .. redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', '', '')
local _, blanks = string.gsub(lives, ' ', '')
if blanks > 2 * ARGV[1] then lives = string.gsub(lives, '^(%S+) %S+ %S+', '%1', 1) end
redis.call('SET', KEYS[2], lives)
return lives
