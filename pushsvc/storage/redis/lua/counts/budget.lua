#!lua flags=allow-oom
-- Take from the budgets of an answer, all of them or none.
--
-- KEYS[1...] hash of each budget's counts
-- ARGV for each: how much is wanted, the most in a window, the window's length in ms; what is wanted is 0 for a look.
--
-- Returns {0, for each: the window, what was taken, what is used with that, ms to the window's end}, or {the budget that is
-- used up, from 1, the same for each, with nothing taken}. Less than wanted is taken of a budget that has less.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local met, found, windows, used = 0, {}, {}, {}
for i, name in ipairs(KEYS) do
  local most, span = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  windows[i] = string.format('%.0f', math.floor(now / span))
  local held = redis.call('HMGET', name, 'window', 'used')
  used[i] = held[1] == windows[i] and tonumber(held[2]) or 0
  if met == 0 and tonumber(ARGV[3 * i - 2]) > 0 and used[i] >= most then met = i end
end
for i, name in ipairs(KEYS) do
  local wanted, most, span = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local taken = met == 0 and math.max(0, math.min(wanted, most - used[i])) or 0
  if taken > 0 then
    used[i] = used[i] + taken
    redis.call('HSET', name, 'window', windows[i], 'used', string.format('%.0f', used[i]))
    redis.call('PEXPIRE', name, string.format('%.0f', span - now % span + 60000))
  end
  for _, each in ipairs({windows[i], taken, used[i], span - now % span}) do
    found[#found + 1] = type(each) == 'number' and math.ceil(each) or tonumber(each)
  end
end
return {met, unpack(found)}
