-- What the scripts have in common. One hash for each key, with a field for each
--   h<id>      hold or reservation: token, mode, since, ends, reserved until, ends at the latest, client, note
--   w<id>      place in the queue:  since, mode, kept until, called at (0: not yet), grace, client, note
--   n<client>  the client has a request of its own that is about to claim: since, kept until
--   s<id>      why a hold is gone: kept until, cause
-- and one hash for the namespace: server, seen, fresh (nothing is granted before), span (for how long it was
-- closed at most), token, longest.
-- Reserved until a negative time: until then it is not stolen, and it leaves a reservation only if it is
-- released with one.
-- Modes: 0 exclusive, -1 shared, n one of n permits. Times are microseconds of this server's clock.
local HOLD = '^(%d+) (%-?%d+) (%d+) (%d+) (%-?%d+) (%d+) (%x+) (.*)$'
local WAIT = '^(%d+) (%-?%d+) (%d+) (%d+) (%d+) (%x+) (.*)$'
-- A client that was called and has not claimed for so long, and its grace for a slow link, is taken to
-- be gone.
local ABSENT = 250000
local STOLEN, EVICTED = 2, 3

-- A number as text: Lua's own conversion would round it.
local function int(number) return string.format('%.0f', number) end

local function pack_hold(hold)
  return table.concat({ hold.token, int(hold.mode), int(hold.since), int(hold.ends),
    int(hold.reserved), int(hold.most), hold.client, hold.note }, ' ')
end

local function unpack_hold(id, value)
  local token, mode, since, ends, reserved, most, client, note = match(value, HOLD)
  return { id = id, token = token, mode = tonumber(mode), since = tonumber(since),
    ends = tonumber(ends), reserved = tonumber(reserved), most = tonumber(most), client = client,
    note = note }
end

local function pack_wait(wait)
  return table.concat({ int(wait.since), int(wait.mode), int(wait.keep), int(wait.called),
    int(wait.grace), wait.client, wait.note }, ' ')
end

local function unpack_wait(id, value)
  local since, mode, keep, called, grace, client, note = match(value, WAIT)
  return { id = id, since = tonumber(since), mode = tonumber(mode), keep = tonumber(keep),
    called = tonumber(called), grace = tonumber(grace), client = client, note = note }
end

-- When a place lapses unless its client is heard of.
local function lapses(wait)
  if wait.called and wait.called > 0 then
    return math.min(wait.keep, wait.called + ABSENT + wait.grace)
  end
  return wait.keep
end

local function by_age(one, other)
  if one.since ~= other.since then return one.since < other.since end
  return one.id < other.id
end

-- Holds and reservations of a key, whose fields may have been read already, the queue in its order, and the
-- fields of what is over, which is in neither. While the slot of a cluster moves, a key that has lost its last
-- field is not looked for here any more, and no script may touch it: what removes fields does so last.
local function read(key, fields)
  local holds, queue, over = {}, {}, {}
  fields = fields or call('HGETALL', key)
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    local kind, id, stays = field:sub(1, 1), field:sub(2), false
    if kind == 'h' then
      local hold = unpack_hold(id, value)
      stays = hold.ends > now or hold.reserved > now
      if stays then holds[#holds + 1] = hold end
    elseif kind == 'w' then
      local wait = unpack_wait(id, value)
      stays = lapses(wait) > now
      if stays then queue[#queue + 1] = wait end
    elseif kind == 'n' then
      local since, keep = match(value, '^(%d+) (%d+)$')
      stays = tonumber(keep) > now
      if stays then
        queue[#queue + 1] = { id = '', next = true, client = id, since = tonumber(since),
          keep = tonumber(keep), mode = 0 }
      end
    else
      stays = tonumber(match(value, '^%d+')) > now
    end
    if not stays then over[#over + 1] = field end
  end
  table.sort(queue, by_age)
  return holds, queue, over
end

-- Lets the hash live until everything in it is over; it lives longer if it already does.
local function keep_hash(key, ends)
  local left = int(math.ceil((ends - now) / 1000) + 60000)
  -- One that has no end yet counts as one that never ends.
  if call('PEXPIRE', key, left, 'GT') == 0 and call('PTTL', key) == -1 then
    call('PEXPIRE', key, left)
  end
end

-- The key as its users know it, for a hint.
local function hint(key, client)
  local namespace, name = match(key, '^({.-}):l:(.*)$')
  call('PUBLISH', namespace .. ':in:' .. client, name)
end

-- Calls those at the head of the queue who can have the key beside `holds`.
local function summon(key, holds, queue)
  local used, alone = #holds, false
  for _, hold in ipairs(holds) do alone = alone or hold.mode == 0 end
  for _, wait in ipairs(queue) do
    if wait.next or alone then return end
    if wait.mode == 0 and used > 0 then return end
    if wait.mode > 0 and used >= wait.mode then return end
    if wait.called == 0 then
      wait.called = now
      call('HSET', key, 'w' .. wait.id, pack_wait(wait))
      hint(key, wait.client)
    end
    used, alone = used + 1, wait.mode == 0
  end
end
