-- Commands of the application's own in a unit of work. Whatever could make one fail is looked at before anything is written.
local kinds, deleted, totals = {}, {}, {}
local function parts_of(a, i)
  local parts = {}
  for n = 1, tonumber(a[i + 3]) do
    parts[n] = a[i + 3 + n]
  end
  return parts
end

-- The largest number that all counts of a value in this unit of work can come to: a server keeps 64 bits.
local function check_count(a, i, key)
  local field = a[i + 4] == 'HINCRBY' and a[i + 6]
  local sums, name = totals[key] or {}, field or ''
  totals[key] = sums
  if not sums[name] then
    local value = not deleted[key] and (field and redis.call('HGET', key, field) or not field and redis.call('GET', key))
    if value and value ~= '0' and not (#value <= 15 and string.match(value, '^%-?[1-9]%d*$')) then
      return { 'number', key }
    end
    sums[name] = math.abs(tonumber(value or 0))
  end
  sums[name] = sums[name] + math.abs(tonumber(a[i + (field and 7 or 6)]))
  return sums[name] > 9e18 and { 'overflow', key } or nil
end

-- a[i]: kind of value ('' for any), kind afterwards ('' for unchanged), '1' where it has to be a whole number, number of parts, then
-- command, key and arguments
local function check_command(a, i)
  local wanted, after, key = a[i], a[i + 1], a[i + 5]
  if not redis.acl_check_cmd(unpack(parts_of(a, i))) then
    return { 'denied', a[i + 4], key }
  end
  local is = kinds[key] or redis.call('TYPE', key)['ok']
  if wanted ~= '' and is ~= 'none' and is ~= wanted then
    return { 'kind', key, is, wanted }
  end
  local refused = a[i + 2] == '1' and check_count(a, i, key)
  if refused then
    return refused
  end
  kinds[key] = after ~= '' and after or is
  if after == 'none' then
    deleted[key], totals[key] = true, nil
  end
end
local function apply_command(a, i)
  redis.call(unpack(parts_of(a, i)))
end
