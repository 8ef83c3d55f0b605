#!lua flags=allow-oom
-- Record that events were lost between two epochs of the data, or that nothing is left of what was before its birth.
--
-- KEYS[1] epoch   KEYS[2] the last loss   ARGV[1] last id of the one epoch, '0-0' where nothing is left
-- ARGV[2] first id of the other   ARGV[3] seconds for which who brings no cursor is told
-- Returns nothing. Harmless when repeated, and where it is known or there are no such epochs.
local epochs = redis.call('GET', KEYS[1]) or ''
local from, to = string.find(epochs .. ' ', ' ' .. ARGV[1] .. ' ' .. ARGV[2] .. ' ', 1, true)
if (from or ARGV[1] == '0-0') and redis.pcall('GET', KEYS[2]) ~= ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
end
if from then redis.call('SET', KEYS[1], string.sub(epochs, 1, to - 1) .. '!' .. string.sub(epochs, to)) end
