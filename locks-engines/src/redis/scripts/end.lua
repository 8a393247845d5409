-- KEYS: the keys. ARGV: id, client, how (0 release, 1 release and leave what is reserved, 2 remove), and how
-- long a request of this client has waited that is about to claim (-1: there is none).
local id, client, how, waited = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ended = 0
for _, key in ipairs(KEYS) do
  local value = call('HGET', key, 'h' .. id)
  if value then
    local hold = unpack_hold(id, value)
    if how == 1 then hold.reserved = math.abs(hold.reserved) end
    local held, reserved = hold.ends > now, hold.reserved > now
    if held or (reserved and how ~= 1) then ended = 1 end
    if how == 1 and reserved then
      if held then
        hold.ends = now
        call('HSET', key, 'h' .. id, pack_hold(hold))
        keep_hash(key, hold.reserved)
      end
    else
      call('HDEL', key, 'h' .. id)
      if how == 2 and held and hold.client ~= client then
        call('HSET', key, 's' .. id, int(hold.ends) .. ' ' .. EVICTED)
        keep_hash(key, hold.ends)
        hint(key, hold.client)
      end
    end
  end
  -- A place of this acquisition has no use any more.
  if call('EXISTS', key) == 1 then
    call('HDEL', key, 'w' .. id)
    local holds, queue = read(key, true)
    local first = queue[1]
    local since = math.max(now - math.max(waited, 0), 0)
    local is_next = waited >= 0 and #holds == 0 and (not first or since < first.since)
    if is_next then
      call('HSET', key, 'n' .. client, int(since) .. ' ' .. int(now + ABSENT))
      keep_hash(key, now + ABSENT)
    end
    -- A client's own place is called all the same: what is about to claim may be another request.
    if not is_next or (first and first.client == client) then summon(key, holds, queue) end
  end
end
return ended
