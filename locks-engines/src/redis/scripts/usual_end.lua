-- KEYS: the keys. ARGV: id, client, how (0 release, 1 release and leave what is reserved, 2 remove), and how
-- long a request of this client has waited that is about to claim (-1: there is none).
local fields = call('HGETALL', KEYS[1])

-- The usual case, as with a claim: the hold is all that there is at the one key, and nothing is reserved.
if #KEYS == 1 and #fields == 2 and fields[1] == 'h' .. ARGV[1] and ARGV[3] ~= '2' then
  local ends = match(fields[2], '^%d+ %-?%d+ %d+ (%d+) 0 ')
  if ends and tonumber(ends) > now then
    call('HDEL', KEYS[1], fields[1])
    return 1
  end
end
