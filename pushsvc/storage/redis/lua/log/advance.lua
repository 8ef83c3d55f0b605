-- Move users' positions forward, never back.
--
-- KEYS positions   ARGV[1] seconds a position is kept   ARGV[1 + i] id that the user of KEYS[i] has had
-- Returns how many moved. What is not a position is replaced, so that one key of somebody else's holds nobody up.
local function after(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_seq) > tonumber(b_seq)
end

local moved = 0
for i, key in ipairs(KEYS) do
  local had = redis.pcall('GET', key)
  if type(had) == 'table' and not string.find(had.err, '^WRONGTYPE') then return had end -- it may be further on
  if type(had) ~= 'string' or after(ARGV[1 + i], had) then
    redis.call('SET', key, ARGV[1 + i], 'EX', ARGV[1])
    moved = moved + 1
  end
end
return moved
