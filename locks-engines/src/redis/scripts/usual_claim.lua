-- KEYS: the namespace, the keys. ARGV: see `claim_arguments`.
local META = KEYS[1]
local meta = call('HMGET', META, 'server', 'seen', 'fresh', 'longest', 'span')

-- The usual case, before anything is defined that it has no use for, which takes longer than the rest: one key
-- that nobody holds or waits for, no bounds of the hold, and a server that was seen a moment ago and is open.
if #KEYS == 2 and meta[1] == SERVER and meta[4] == ARGV[6] and tonumber(meta[3]) <= now
  and call('EXISTS', KEYS[2]) == 0 then
  local seen, lease = now - tonumber(meta[2]), tonumber(ARGV[5])
  if seen >= 0 and seen < 100000 then
    local token = call('HINCRBY', META, 'token', 1)
    -- As `pack_hold` has it.
    local hold = string.format('%.0f %s %.0f %.0f 0 0 ', token, ARGV[3], now, now + lease) .. ARGV[2] .. ' ' .. ARGV[4]
    call('HSET', KEYS[2], 'h' .. ARGV[1], hold)
    call('PEXPIRE', KEYS[2], math.ceil(lease / 1000) + 60000)
    return { 1, token }
  end
end
