#!lua flags=allow-oom
-- Settle what an answer took from its budgets, once, by what it used.
--
-- KEYS[1] record of the generation   KEYS[2...] hash of each budget's counts
-- ARGV[1] whether there is no generation   then for each: the window in which it was taken, and how much more than that was
-- used; negative: less
--
-- Returns 1; or 0, and nothing was done, if the record says that it was settled.
if ARGV[1] == '0' and redis.call('HDEL', KEYS[1], 'budget') == 0 then return 0 end
for i = 2, #KEYS do
  local held = redis.call('HMGET', KEYS[i], 'window', 'used')
  if held[1] == ARGV[2 * i - 2] then -- what a window that is over had too much is of no use to anybody
    local used = math.max(0, tonumber(held[2]) + tonumber(ARGV[2 * i - 1]))
    redis.call('HSET', KEYS[i], 'used', string.format('%.0f', used))
  end
end
return 1
