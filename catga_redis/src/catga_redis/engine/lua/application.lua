-- Commands of the application's own in a unit of work. Whatever could make one fail is looked at before anything is written.
local kinds = {}

-- a[i]: kind of value ('' for any), kind afterwards ('' for unchanged), '1' where it has to be a whole number, number of parts, then
-- command, key and arguments
local function check_command(a, i)
  local wanted, after, key = a[i], a[i + 1], a[i + 5]
  local is = kinds[key] or redis.call('TYPE', key)['ok']
  if wanted ~= '' and is ~= 'none' and is ~= wanted then
    return { 'kind', key, is, wanted }
  end
  if a[i + 2] == '1' and is ~= 'none' and not kinds[key] then
    local value = is == 'hash' and redis.call('HGET', key, a[i + 6]) or is == 'string' and redis.call('GET', key)
    if value and value ~= '0' and not (#value <= 15 and string.match(value, '^%-?[1-9]%d*$')) then
      return { 'number', key }
    end
  end
  kinds[key] = after ~= '' and after or is
end
local function apply_command(a, i)
  local parts = {}
  for n = 1, tonumber(a[i + 3]) do
    parts[n] = a[i + 3 + n]
  end
  redis.call(unpack(parts))
end
