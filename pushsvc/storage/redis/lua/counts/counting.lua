-- Counting against rates: comes before the scripts that do.
--
-- Counts are kept over sliding windows: the part of the window before that still counts, and the window that runs.
-- `cost`: how many to count for the subject that the hash `name` is of; negative: how many were counted and did not
-- happen. `words[first]` to `words[last]`: for each rate the most in its window, and the window's length in ms.
--
-- Returns 0, 0; or the rate that is met, from 1, and the ms after which the same may be tried: nothing was counted.
local function count(name, cost, words, first, last)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local met, wait, longest = 0, 0, 0
  local fields = {}
  for i = first, last, 2 do
    local most, span = tonumber(words[i]), tonumber(words[i + 1])
    local held = redis.call('HMGET', name, span .. ':at', span .. ':now', span .. ':before')
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
      if left >= wait then met, wait = (i - first) / 2 + 1, left end
    end
    for _, each in ipairs({span .. ':at', window, span .. ':now', math.max(0, current + cost), span .. ':before', before}) do
      fields[#fields + 1] = type(each) == 'number' and string.format('%.0f', each) or each
    end
    longest = math.max(longest, span)
  end
  if met > 0 then return met, math.ceil(wait) end
  redis.call('HSET', name, unpack(fields))
  redis.call('PEXPIRE', name, string.format('%.0f', 2 * longest))
  return 0, 0
end
