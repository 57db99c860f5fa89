-- {p}:snap:<stream>  hash of "<version>:<schema version>:<name>" -> snapshot
local function snapshots_of(stream, name)
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', P .. 'snap:' .. stream)) do
    local version, schema, its = string.match(field, '^(%d+):(%d+):(.*)$')
    if name == nil or its == name then
      found[#found + 1] = { field = field, version = tonumber(version), schema = tonumber(schema) }
    end
  end
  table.sort(found, function(one, other) return one.version > other.version end)
  return found
end

-- a[i]: stream, name, version, schema version, keep, snapshot
local function check_save_snapshot(a, i)
  redis.call('HLEN', P .. 'snap:' .. a[i])
end
local function apply_save_snapshot(a, i)
  local key, version = P .. 'snap:' .. a[i], tonumber(a[i + 2])
  -- Put together, for %s would end at a zero byte.
  local fresh = string.format('%.0f:', version) .. a[i + 3] .. ':' .. a[i + 1]
  local found = snapshots_of(a[i], a[i + 1])
  -- Written first: where memory is full it is the first write that fails, before an old one is removed.
  redis.call('HSET', key, fresh, a[i + 5])
  for _, each in ipairs(found) do
    if each.version == version and each.field ~= fresh then
      redis.call('HDEL', key, each.field)
    end
  end
  for n, each in ipairs(snapshots_of(a[i], a[i + 1])) do
    if n > tonumber(a[i + 4]) then
      redis.call('HDEL', key, each.field)
    end
  end
  return 1
end

-- a[i]: stream, name, schema version, highest version (0: any)
local function apply_load_snapshot(a, i)
  local schema, highest = tonumber(a[i + 2]), tonumber(a[i + 3])
  for _, each in ipairs(snapshots_of(a[i], a[i + 1])) do
    if each.schema == schema and (highest == 0 or each.version <= highest) then
      return redis.call('HGET', P .. 'snap:' .. a[i], each.field)
    end
  end
  return false
end

-- a[i]: stream, '1' and a name for one kind
local check_delete_snapshots = check_save_snapshot
local function apply_delete_snapshots(a, i)
  local name
  if a[i + 1] == '1' then
    name = a[i + 2]
  end
  local found = snapshots_of(a[i], name)
  for _, each in ipairs(found) do
    redis.call('HDEL', P .. 'snap:' .. a[i], each.field)
  end
  return #found
end

-- a[i]: as above. How many there are.
local function apply_count_snapshots(a, i)
  return #snapshots_of(a[i], a[i + 1] == '1' and a[i + 2] or nil)
end
