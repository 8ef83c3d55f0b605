#!lua flags=allow-oom
-- Who came and who went, for the hooks: comes before the scripts that write it down.
--
-- A name (`user:…`, `topic:…`) is here as long as a worker has it in its sorted set. `who` (hash) says on how many it is;
-- a name with a 0 is gone, and stands in `away` (sorted set) by the ms at which that is to be told. What is to be told
-- waits in `hooks` (sorted set, in the order in which it happened), as `<id> <ms> <came or went> <name>`; `ids` is a stream
-- of one entry, which gives each its id.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function tell(hooks, ids, ms, what, name)
  local id = redis.call('XADD', ids, 'MAXLEN', 1, '*', '', '')
  local at, number = string.match(id, '^(%d+)-(%d+)$') -- in this order, also within a ms
  redis.call('ZADD', hooks, string.format('%.0f', at * 1000 + math.min(number, 999)), string.format('%s %.0f %s %s', id, ms, what, name))
end

-- The worker has the name no more. If nobody has, it is told once it has been away for `patience` ms.
local function left(here, who, away, patience, ms, name)
  if redis.call('ZREM', here, name) == 1 and redis.call('HINCRBY', who, name, -1) <= 0 then
    redis.call('ZADD', away, ms + patience, name)
  end
end
