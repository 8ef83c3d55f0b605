#!lua flags=allow-oom
-- Count against the rates of one subject. After counting.lua.
--
-- KEYS[1] hash of the subject's counts
-- ARGV[1] how many to count   ARGV[2...] the rates, see counting.lua
-- Returns {0, 0}, or {the rate that is met, from 1, ms after which the same may be tried}: nothing was counted.
return {count(KEYS[1], tonumber(ARGV[1]), ARGV, 2, #ARGV)}
