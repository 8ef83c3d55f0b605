-- Where the partition stands. A clock that does not run yet is started, so that "now" has an id.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3...] tails, positions and the like that are wanted too
-- Returns {the epoch, last id drawn, Redis's wall clock in ms, these ('0-0' where there is none)...}.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  last = last[1]
else
  last = redis.call('XADD', KEYS[1], '*', '', '')
  redis.call('SET', KEYS[2], last)
end
local epoch = redis.pcall('GET', KEYS[2])
if type(epoch) == 'table' and not string.find(epoch.err, '^WRONGTYPE') then return epoch end -- it may be there
if type(epoch) ~= 'string' then -- somebody deleted it: all before now counts as another epoch
  epoch = last
  redis.call('SET', KEYS[2], epoch)
end
local time = redis.call('TIME')
local answer = {epoch, last, time[1] * 1000 + math.floor(time[2] / 1000)}
for i = 3, #KEYS do
  local tail = redis.pcall('GET', KEYS[i])
  answer[i + 1] = type(tail) == 'string' and tail or '0-0'
end
return answer
