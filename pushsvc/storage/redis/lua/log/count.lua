-- How many events of some channels lie after an id and may still be delivered.
--
-- KEYS logs   ARGV[1...] for each the id ('-' for the beginning), then the oldest time kept and now, in ms
-- Returns for each {the count, the id of the last entry ('' if there is none after the id), 1 if one of those counted has
-- a deadline}.
local oldest, now = tonumber(ARGV[#KEYS + 1]), tonumber(ARGV[#KEYS + 2])
local answers = {}
for number, log in ipairs(KEYS) do
  local from, count, last, timed = ARGV[number], 0, '', 0
  while true do
    local entries = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
    for _, entry in ipairs(entries) do
      local deadline = entry[2][6]
      if deadline then timed = 1 end
      if tonumber(string.match(entry[1], '^%d+')) >= oldest and (not deadline or tonumber(deadline) > now) then
        count = count + 1
      end
      last = entry[1]
    end
    if #entries < 100 then break end
    from = '(' .. last
  end
  answers[number] = {count, last, timed}
end
return answers
