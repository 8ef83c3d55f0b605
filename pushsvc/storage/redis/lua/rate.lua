#!lua flags=allow-oom
-- Count against the rates of one subject, over sliding windows: the part of the window before that still counts, and the
-- window that runs. What is over one of the rates counts for none.
--
-- KEYS[1] hash of the subject's counts
-- ARGV[1] how many to count; negative: how many were counted and did not happen
-- ARGV[2...] for each rate the most in its window, and the window's length in ms
-- Returns {0, 0}, or {the rate that is met, from 1, ms after which the same may be tried}: nothing was counted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cost, met, wait, longest = tonumber(ARGV[1]), 0, 0, 0
local fields = {}
for i = 2, #ARGV, 2 do
  local most, span = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local held = redis.call('HMGET', KEYS[1], span .. ':at', span .. ':now', span .. ':before')
  local window, at = math.floor(now / span), tonumber(held[1] or -2)
  local current = at == window and tonumber(held[2]) or 0
  local before = at == window and tonumber(held[3]) or at == window - 1 and tonumber(held[2]) or 0
  local past = now % span
  if cost > 0 and before * (span - past) / span + current + cost > most then
    local left
    if current + cost <= most then -- some of the window before has to pass
      left = span - (most - current - cost) * span / before - past
    else -- this window, and some of it in the next one
      left = span - past + math.max(0, span - (most - cost) * span / current)
    end
    if left >= wait then met, wait = i / 2, left end
  end
  for _, each in ipairs({span .. ':at', window, span .. ':now', math.max(0, current + cost), span .. ':before', before}) do
    fields[#fields + 1] = type(each) == 'number' and string.format('%.0f', each) or each
  end
  longest = math.max(longest, span)
end
if met > 0 then return {met, math.ceil(wait)} end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', 2 * longest))
return {0, 0}
