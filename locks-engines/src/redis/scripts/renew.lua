-- KEYS: the keys of all renewals. ARGV: for each renewal its id, lease, whether its age begins again, and
-- how many of the keys are its own.
-- Answers: 1 kept, 0 forgotten, 2 stolen, 3 evicted, 4 held for too long, 5 expired.
local answers, at = {}, 0
for i = 1, #ARGV, 4 do
  local id, lease, refresh, count = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1', tonumber(ARGV[i + 3])
  local holds, answer = {}, 1
  for k = at + 1, at + count do
    local key = KEYS[k]
    local value = call('HGET', key, 'h' .. id)
    if value then
      local hold = unpack_hold(id, value)
      if hold.most > 0 and hold.most <= now then answer = 4
      elseif hold.ends <= now then answer = 5 end
      holds[#holds + 1] = { key = key, hold = hold }
    else
      local mark = call('HGET', key, 's' .. id)
      answer = mark and tonumber(match(mark, '%d+$')) or 0
    end
    if answer ~= 1 then break end
  end
  at = at + count
  if answer == 1 then
    for _, found in ipairs(holds) do
      local hold = found.hold
      hold.ends = now + lease
      if hold.most > 0 then hold.ends = math.min(hold.ends, hold.most) end
      if refresh then hold.since = now end
      call('HSET', found.key, 'h' .. id, pack_hold(hold))
      keep_hash(found.key, math.max(hold.ends, hold.reserved))
    end
  end
  answers[#answers + 1] = answer
end
return answers
