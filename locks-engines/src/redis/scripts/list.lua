-- KEYS: keys. Answers: for each hold, reservation and place the number of its key, what it is, id, token,
-- mode, age, how long it stands, note.
local entries = {}
for i, key in ipairs(KEYS) do
  local holds, queue = read(key)
  for _, hold in ipairs(holds) do
    local held = hold.ends > now
    entries[#entries + 1] = { i, held and 'h' or 'r', hold.id, hold.token, hold.mode,
      int(now - hold.since), int((held and hold.ends or hold.reserved) - now), hold.note }
  end
  for _, wait in ipairs(queue) do
    if not wait.next then
      entries[#entries + 1] = { i, 'w', wait.id, '0', wait.mode, int(math.max(now - wait.since, 0)),
        int(wait.keep - now), wait.note }
    end
  end
end
return entries
