local call, match = redis.call, string.match
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
