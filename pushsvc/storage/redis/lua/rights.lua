#!lua flags=allow-oom
-- Try commands as other scripts use them, on keys that only this script has, and only while it runs.
--
-- KEYS[1] string   KEYS[2] hash   KEYS[3] set   KEYS[4] sorted set   KEYS[5] stream   KEYS[6] list   KEYS[7] channel
-- ARGV names of commands
-- Returns {name, refusal} of each that Redis refuses.
local text, hash, set, sorted, stream, list, channel = unpack(KEYS)
local arguments = {
  DEL = {text},
  EXISTS = {text},
  EXPIRE = {text, 60},
  GET = {text},
  GETDEL = {text},
  GETRANGE = {text, 0, -1},
  HDEL = {hash, 'field'},
  HEXISTS = {hash, 'field'},
  HGET = {hash, 'field'},
  HGETALL = {hash},
  HINCRBY = {hash, 'number', 1},
  HKEYS = {hash},
  HLEN = {hash},
  HMGET = {hash, 'field'},
  HSET = {hash, 'field', ''},
  HSTRLEN = {hash, 'field'},
  INCR = {text},
  LPOP = {list},
  LRANGE = {list, 0, -1},
  MGET = {text},
  PEXPIRE = {text, 60000},
  PTTL = {text},
  RPUSH = {list, ''},
  SADD = {set, ''},
  SCARD = {set},
  SET = {text, 1, 'EX', 60},
  SETNX = {text, 1},
  SISMEMBER = {set, ''},
  SMEMBERS = {set},
  SPUBLISH = {channel, ''},
  SREM = {set, ''},
  TIME = {},
  TTL = {text},
  TYPE = {text},
  UNLINK = {text},
  XADD = {stream, '*', '', ''},
  XDEL = {stream, '0-1'},
  XLEN = {stream},
  XRANGE = {stream, '-', '+'},
  XREVRANGE = {stream, '+', '-'},
  XTRIM = {stream, 'MAXLEN', 1},
  ZADD = {sorted, 1, ''},
  ZCARD = {sorted},
  ZRANGE = {sorted, 0, -1},
  ZRANGEBYSCORE = {sorted, '-inf', '+inf'},
  ZREM = {sorted, ''},
  ZREMRANGEBYSCORE = {sorted, '-inf', 0},
  ZREVRANGE = {sorted, 0, -1},
  ZSCORE = {sorted, ''},
}
local refused = {}
for _, name in ipairs(ARGV) do
  local answer = {err = 'nobody knows how to try it'}
  if arguments[name] then answer = redis.pcall(name, unpack(arguments[name])) end
  if type(answer) == 'table' and answer.err then refused[#refused + 1] = {name, answer.err} end
end
for i = 1, 6 do
  redis.pcall('EXPIRE', KEYS[i], 60) -- should it not be possible to delete it
  redis.pcall('DEL', KEYS[i])
end
return refused
