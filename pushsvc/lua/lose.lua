#!lua flags=allow-oom
-- Note that events were lost between two lives of the data.
--
-- KEYS[1] epoch   ARGV[1] last id of the one   ARGV[2] first id of the other
-- Returns nothing. Harmless when repeated.
local lives = redis.call('GET', KEYS[1]) or ''
local from, to = string.find(lives .. ' ', ARGV[1] .. ' ' .. ARGV[2] .. ' ', 1, true)
if from then redis.call('SET', KEYS[1], string.sub(lives, 1, to - 1) .. '!' .. string.sub(lives, to)) end
