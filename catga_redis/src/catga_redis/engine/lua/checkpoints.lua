-- {p}:cp  hash of name -> "<position>:<updated at, microseconds>:<fencing token>", and ":<event id>" where one was given
local function checkpoint(name)
  local found = redis.call('HGET', P .. 'cp', name)
  if not found then
    return 0, 0
  end
  local position, token = string.match(found, '^(%d+):%d+:(%d+)')
  return tonumber(position), tonumber(token)
end

-- What earlier operations of the same unit of work will have made of a checkpoint: all are checked before one is applied.
local foreseen = {}
local function checkpoint_then(name)
  local found = foreseen[name]
  if found then
    return found[1], found[2]
  end
  return checkpoint(name)
end

-- a[i]: name, position, fencing token, expected position ('' for any), event id ('' for none)
local function check_save_checkpoint(a, i)
  local position, token = checkpoint_then(a[i])
  if token > tonumber(a[i + 2]) then
    return { 'fenced', a[i], token }
  end
  if a[i + 3] ~= '' and tonumber(a[i + 3]) ~= position then
    return { 'moved', a[i], tonumber(a[i + 3]), position }
  end
  foreseen[a[i]] = { tonumber(a[i + 1]), tonumber(a[i + 2]) }
end
local function apply_save_checkpoint(a, i)
  local _, token = checkpoint(a[i])
  token = math.max(token, tonumber(a[i + 2]))
  local saved = string.format('%s:%.0f:%.0f', a[i + 1], now() * 1000000, token)
  if a[i + 4] ~= '' then
    saved = saved .. ':' .. a[i + 4]
  end
  redis.call('HSET', P .. 'cp', a[i], saved)
  return 1
end

-- a[i]: name
local function check_delete_checkpoint(a, i)
  redis.call('HLEN', P .. 'cp')
  foreseen[a[i]] = { 0, 0 }
end
local function apply_delete_checkpoint(a, i)
  return redis.call('HDEL', P .. 'cp', a[i])
end
