local id, client, mode, note = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lease, rest = tonumber(ARGV[5]), {}
for word in string.gmatch(ARGV[7], '%S+') do rest[#rest + 1] = word end
local steal, least, most = tonumber(rest[1]), tonumber(rest[2]), tonumber(rest[3])
local waited, keep = tonumber(rest[4]), tonumber(rest[5])
local longest, skip, lag = tonumber(rest[6]), rest[7], tonumber(rest[8])
local grace, memory = tonumber(rest[9]), tonumber(rest[10])

if rest[11] == 'check' then
  local info = call('INFO', 'server') .. call('INFO', 'replication')
  if match(info, 'run_id:(%x+)') .. match(info, 'master_replid:(%x+)') ~= SERVER then return { 5 } end
end

if meta[4] and tonumber(meta[4]) ~= longest then return { 4, meta[4] } end

-- How long nothing may be granted, because this server may not have everything that was promised.
-- The text of this script names the server that it was sent to, so another one does not know it. One
-- that was demoted and promoted again has another replication id, which is asked for ten times a second
-- at most: to lose data it has to load those of its successor in between, which takes longer.
-- The same process begins another history of all that it has when its first replica comes, and when the
-- last has been gone for a while. After a promotion it tells of the history before that by a second id,
-- but not for ever. So without one, what it may have lost it lost before that time.
local function closed_for()
  local seen, fresh = now - tonumber(meta[2] or 0), tonumber(meta[3] or 0)
  -- It was never closed for longer than this: a clock that was ahead has been put right.
  local span = math.max(longest + lag, tonumber(meta[5] or 0))
  if fresh > now + span then
    fresh = now + span
    call('HSET', META, 'fresh', int(fresh))
  end
  if meta[1] ~= SERVER or seen < 0 or seen >= 100000 then
    local info = call('INFO', 'replication')
    local server = RUN .. match(info, 'master_replid:(%x+)')
    if meta[1] == server then
      call('HSET', META, 'seen', int(now))
    else
      local closed = now + longest + lag
      if not meta[1] and skip == '1' then
        closed = now
      elseif meta[1] and meta[1]:sub(1, #RUN) == RUN and match(info, 'master_replid2:0+%s') then
        closed = seen >= 0 and seen < memory and 0 or closed - memory
      end
      fresh = math.max(fresh, closed)
      -- What the greatest token was may be lost as well; the clock is above it.
      local token = math.max(tonumber(call('HGET', META, 'token') or 0) + 1000000, now)
      call('HSET', META, 'server', server, 'seen', int(now), 'fresh', int(fresh), 'span', int(span),
        'token', int(token), 'longest', int(longest))
      meta[1] = server
    end
    meta[2] = int(now)
  end
  meta[3] = int(fresh)
  return fresh - now
end

-- Puts right what a clock has written that was ahead: nothing began or was called later than now, no lease
-- is longer than the longest. So far it was ahead at least, and what is left of bounds is never cut short.
local function put_right(key, holds, queue)
  for _, hold in ipairs(holds) do
    local ahead = math.max(hold.since - now, hold.ends - now - longest)
    if ahead > 0 then
      hold.since, hold.ends = math.max(hold.since - ahead, 0), math.max(hold.ends - ahead, 0)
      if hold.most > 0 then hold.most = math.max(hold.most - ahead, 1) end
      local reserved = math.max(math.abs(hold.reserved) - ahead, 0)
      hold.reserved = hold.reserved < 0 and -reserved or reserved
      call('HSET', key, 'h' .. hold.id, pack_hold(hold))
    end
  end
  for _, wait in ipairs(queue) do
    if wait.next and wait.keep > now + ABSENT then
      wait.keep = now + ABSENT
      call('HSET', key, 'n' .. wait.client, int(wait.since) .. ' ' .. int(wait.keep))
    elseif wait.called and wait.called > now then
      wait.called = now
      call('HSET', key, 'w' .. wait.id, pack_wait(wait))
    end
  end
end

local function grant(keys)
  local token = int(call('HINCRBY', META, 'token', 1))
  local ends = now + lease
  if most > 0 and most < lease then ends = now + most end
  local hold = { token = token, mode = mode, since = now, ends = ends,
    reserved = least > 0 and now + least or least < 0 and least - now or 0, most = most > 0 and now + most or 0,
    client = client, note = note }
  local value = pack_hold(hold)
  for _, at in ipairs(keys) do
    call('HSET', at.key, 'h' .. id, value)
    if at.placed then call('HDEL', at.key, 'w' .. id) end
    if at.next then call('HDEL', at.key, 'n' .. client) end
    keep_hash(at.key, math.max(ends, hold.reserved))
    if #at.queue > 0 then
      at.holds[#at.holds + 1] = { mode = mode }
      summon(at.key, at.holds, at.queue)
    end
  end
  return { 1, token }
end

-- What is in the way at a key: holds, the victims of a steal, when to look again.
local function look(at)
  local way, used = {}, 0
  for _, hold in ipairs(at.holds) do
    used = used + 1
    if mode ~= -1 or hold.mode == 0 then way[#way + 1] = hold end
  end
  -- So many of them have to go.
  local need = #way
  if mode > 0 then need = math.max(used + 1 - mode, 0) end
  if need > 0 then
    local victims, times = {}, {}
    for _, hold in ipairs(way) do
      local over, due = math.max(hold.ends, hold.reserved), math.max(hold.since + steal, math.abs(hold.reserved))
      local held = steal >= 0 and hold.ends > now
      if held and due <= now then victims[#victims + 1] = hold end
      times[#times + 1] = held and math.min(over, due) or over
    end
    table.sort(victims, by_age)
    if #victims >= need then
      for i = need + 1, #victims do victims[i] = nil end
      return true, victims
    end
    table.sort(times)
    return false, way, times[need]
  end
  if waited < 0 then return true, {} end
  -- Nothing is held in its way: but does somebody wait for longer?
  local mine = { since = at.since, id = id }
  local before, again, head = 0, nil, nil
  for _, wait in ipairs(at.queue) do
    if not by_age(wait, mine) then break end
    before = before + 1
    local blocks = mode == 0 or wait.mode == 0
    if mode > 0 then blocks = used + before + 1 > mode or (not wait.next and used + before > wait.mode) end
    if blocks then
      head = head or wait
      again = math.min(again or lapses(wait), lapses(wait))
    end
  end
  if again then
    -- The head of the queue may be gone: called, it has a moment to show that it is not.
    summon(at.key, at.holds, at.queue)
    return false, {}, math.min(again, now + ABSENT + (head.grace or 0))
  end
  return true, {}
end

local keys, owned, token = {}, 0, nil
for i = 2, #KEYS do
  local at = { key = KEYS[i], since = math.max(now - math.max(waited, 0), 0),
    holds = {}, queue = {} }
  local holds, queue, over = read(at.key)
  for _, field in ipairs(over) do call('HDEL', at.key, field) end
  put_right(at.key, holds, queue)
  for _, hold in ipairs(holds) do
    if hold.id == id then
      if hold.ends > now then owned, token = owned + 1, hold.token end
    else
      if (hold.mode > 0) ~= (mode > 0) then at.mismatch = true end
      at.holds[#at.holds + 1] = hold
    end
  end
  for _, wait in ipairs(queue) do
    if wait.id == id then
      at.since, at.placed = wait.since, true
    elseif wait.next and wait.client == client then
      at.next = true
    else
      if not wait.next and (wait.mode > 0) ~= (mode > 0) then at.mismatch = true end
      at.queue[#at.queue + 1] = wait
    end
  end
  keys[#keys + 1] = at
end

-- Asked before, and the answer was lost: the same answer.
if owned == #keys then return { 1, token } end
for i, at in ipairs(keys) do
  if at.mismatch then return { 3, i } end
end
local closed = closed_for()
if closed > 0 then return { 2, int(closed) } end

local entries, victims, again, refused = {}, {}, nil, false
for i, at in ipairs(keys) do
  local free, found, when = look(at)
  if free then
    for _, hold in ipairs(found) do victims[#victims + 1] = { at = at, hold = hold, index = i } end
  else
    refused = true
    again = math.max(again or when, when)
    for _, hold in ipairs(found) do
      local held = hold.ends > now
      entries[#entries + 1] = { i, held and 'h' or 'r', hold.id, hold.token, hold.mode,
        int(now - hold.since), int((held and hold.ends or hold.reserved) - now), hold.note }
    end
  end
end

if refused then
  local placed = waited >= 0 and keep > 0
  for _, at in ipairs(placed and keys or {}) do
    local wait = { since = at.since, mode = mode, keep = now + keep, called = 0, grace = grace,
      client = client, note = note }
    call('HSET', at.key, 'w' .. id, pack_wait(wait))
    if at.next then call('HDEL', at.key, 'n' .. client) end
    keep_hash(at.key, wait.keep)
  end
  return { 0, placed and 1 or 0, int(math.max(again - now, 0)), entries }
end

local robbed = {}
for _, victim in ipairs(victims) do
  local at, hold = victim.at, victim.hold
  robbed[#robbed + 1] = { victim.index, 'h', hold.id, hold.token, hold.mode, int(now - hold.since),
    int(hold.ends - now), hold.note }
  call('HSET', at.key, 's' .. hold.id, int(hold.ends) .. ' ' .. STOLEN)
  call('HDEL', at.key, 'h' .. hold.id)
  hint(at.key, hold.client)
  for i = #at.holds, 1, -1 do
    if at.holds[i].id == hold.id then table.remove(at.holds, i) end
  end
end
local granted = grant(keys)
if #robbed > 0 then return { 6, granted[2], robbed } end
return granted
