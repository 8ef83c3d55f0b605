-- Append several events, in order, and announce them. After log.lua and once.lua.
--
-- Each stands for itself: what Redis refuses of one keeps no other away.
--
-- KEYS[1] clock   KEYS[2] epoch   KEYS[3...] for each event its log, its tail, and its dedupe key if it has one
-- ARGV[1] events kept   ARGV[2] seconds kept   ARGV[3] seconds the tail is kept   ARGV[4] seconds a key is remembered
-- ARGV[5...] for each event its frame, its ttl in seconds (0 for none), and 1 if it has a key, else 0
--
-- Returns for each event what append.lua does, or what Redis refused. A replica, which takes nothing, refuses the whole.
local answers, at = {}, 3
for i = 5, #ARGV, 3 do
  local log, tail, key = KEYS[at], KEYS[at + 1], ARGV[i + 2] == '1' and KEYS[at + 2]
  at = at + (key and 3 or 2)
  local answer = key and repeated(key)
  if not answer then
    answer = append_once(
      key, ARGV[4], KEYS[1], KEYS[2], log, tail, ARGV[i], ARGV[1], ARGV[2], ARGV[3], ARGV[i + 1])
  end
  if answer.err and string.find(answer.err, '^%-?READONLY') then return answer end
  answers[#answers + 1] = answer
end
return answers
