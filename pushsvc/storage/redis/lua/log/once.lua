-- Appending an event with a key once: comes before the scripts that do, and after log.lua.
--
-- Where Redis refuses a command, an event with a key is not there, or a repetition finds that it is: the key is written
-- first, and taken back if the log refuses the event.

-- Look a key up. Returns {the first id, 1} where an event has it, what Redis refuses, or nil.
local function repeated(key)
  local first = redis.pcall('GET', key)
  if type(first) == 'table' and not string.find(first.err, '^WRONGTYPE') then return first end
  if type(first) == 'string' and first ~= '?' then
    -- Written anew, as it is: a WAIT after it then waits until the replicas have what was written before.
    local left = redis.pcall('PTTL', key)
    if type(left) == 'number' and left > 0 then redis.pcall('PEXPIRE', key, left) end
    return {first, 1}
  end
end

-- Append an event under a key that no event has; the key is false or nil for none, and remembered for so many seconds. The
-- rest is log.lua's. Returns {id, 0, the epoch it is in, if that is known}, or what Redis refused; then whether the event is
-- not there.
local function append_once(key, remembered, clock, epoch, ...)
  local done, id = pcall(draw, clock, epoch)
  local refused, current = id
  if done and key then done, refused = pcall(redis.call, 'SET', key, id, 'EX', remembered) end
  local stored = done
  if done then done, refused, current = pcall(append, id, epoch, ...) end
  if done then return refused or {id, 0, current ~= '-' and current or nil}, false end
  if key and stored then redis.pcall('SET', key, '?', 'EX', remembered) end -- not DEL, to which there may be no right
  return type(refused) == 'table' and refused or redis.error_reply(refused), true
end
