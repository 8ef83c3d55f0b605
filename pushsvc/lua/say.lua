-- Append what a generation says, and perhaps its ending, unless it has ended already. After log.lua.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3] log   KEYS[4] tail   KEYS[5] record
-- and for an ending KEYS[6] what its worker generates   KEYS[7] log of the user's feed   KEYS[8] its tail
-- ARGV[1] number of this write, rising from 1; 0 for one that is not its producer's   ARGV[2] seconds kept
-- ARGV[3] ending, '' if it goes on   ARGV[4] number of frames   ARGV[5...] frames; and for an ending
-- the id, the frame for the feed, the seconds the feed is kept, fields of the record and their values
--
-- Returns the state that it has now ('' if there is no such record). A write that came before does nothing.
local record = redis.call('HMGET', KEYS[5], 'state', 'seq')
if record[1] and record[1] ~= 'running' then return record[1] end
local number = tonumber(ARGV[1])
if not record[1] then -- expired or lost; its producer may still tell who listens that it is over
  if number == 0 or ARGV[3] == '' then return '' end
elseif number > 0 then
  if tonumber(record[2]) >= number then return record[1] end
  redis.call('HSET', KEYS[5], 'seq', number)
end
local frames = tonumber(ARGV[4])
for i = 5, 4 + frames do
  append(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[i], nil, ARGV[2], ARGV[2], '0')
end
if ARGV[3] == '' then return record[1] end
if not record[1] then return '' end
local at = 5 + frames
local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[5], 'state', ARGV[3], 'ended', ms, unpack(ARGV, at + 3))
redis.call('EXPIRE', KEYS[5], ARGV[2])
redis.call('SREM', KEYS[6], ARGV[at])
append(KEYS[1], KEYS[2], KEYS[7], KEYS[8], ARGV[at + 1], 100, ARGV[at + 2], ARGV[at + 2], '0')
return ARGV[3]
