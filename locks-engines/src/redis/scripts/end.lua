local id, client, how, waited = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ended = 0

-- What is this acquisition's, taken out of a list.
local function own(list)
  for i, of in ipairs(list) do
    if of.id == id then return table.remove(list, i) end
  end
end

for i, key in ipairs(KEYS) do
  local holds, queue, over = read(key, i == 1 and fields)
  local hold = own(holds)
  if hold then
    if how == 1 then hold.reserved = math.abs(hold.reserved) end
    local held = hold.ends > now
    if held or how ~= 1 then ended = 1 end
    if how == 1 and hold.reserved > now then
      holds[#holds + 1] = hold
      if held then
        hold.ends = now
        call('HSET', key, 'h' .. id, pack_hold(hold))
        keep_hash(key, hold.reserved)
      end
    else
      over[#over + 1] = 'h' .. id
      if how == 2 and held and hold.client ~= client then
        call('HSET', key, 's' .. id, int(hold.ends) .. ' ' .. EVICTED)
        keep_hash(key, hold.ends)
        hint(key, hold.client)
      end
    end
  end
  -- A place of this acquisition has no use any more.
  if own(queue) then over[#over + 1] = 'w' .. id end
  local first = queue[1]
  if first then
    local since = math.max(now - math.max(waited, 0), 0)
    local is_next = waited >= 0 and #holds == 0 and since < first.since
    if is_next then
      local place = 'n' .. client
      for i = #over, 1, -1 do
        if over[i] == place then table.remove(over, i) end
      end
      call('HSET', key, place, int(since) .. ' ' .. int(now + ABSENT))
      keep_hash(key, now + ABSENT)
    end
    -- A client's own place is called all the same: what is about to claim may be another request.
    if not is_next or first.client == client then summon(key, holds, queue) end
  end
  for _, field in ipairs(over) do call('HDEL', key, field) end
end
return ended
