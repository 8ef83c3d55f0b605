-- How many events of some channels lie after an id and may still be delivered.
--
-- KEYS logs   ARGV[1] the id ('-' for the beginning)   ARGV[2] oldest time kept, ms   ARGV[3] now, ms
-- Returns the count.
local count = 0
for _, log in ipairs(KEYS) do
  local from = ARGV[1]
  while true do
    local entries = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      local deadline = entry[2][6]
      if tonumber(string.match(entry[1], '^%d+')) >= tonumber(ARGV[2])
        and (not deadline or tonumber(deadline) > tonumber(ARGV[3])) then
        count = count + 1
      end
    end
    if #entries < 100 then break end
    from = '(' .. entries[100][1]
  end
end
return count
