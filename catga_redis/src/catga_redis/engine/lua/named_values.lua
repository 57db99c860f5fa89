-- {p}:nv  hash of name -> value
-- What earlier operations of the same unit of work will have made of a value: all are checked before one is applied.
local foreseen_values = {}

-- a[i]: name, value, expected value ('none' for no value, 'any' for whatever is stored)
local function check_set_value(a, i)
  local stored = foreseen_values[a[i]] or redis.call('HGET', P .. 'nv', a[i]) or 'none'
  if a[i + 2] ~= 'any' and a[i + 2] ~= stored then
    return { 'changed', a[i], a[i + 2], stored }
  end
  foreseen_values[a[i]] = a[i + 1]
end
local function apply_set_value(a, i)
  redis.call('HSET', P .. 'nv', a[i], a[i + 1])
  return 1
end

-- a[i]: name
local function check_delete_value(a, i)
  redis.call('HLEN', P .. 'nv')
  foreseen_values[a[i]] = 'none'
end
local function apply_delete_value(a, i)
  return redis.call('HDEL', P .. 'nv', a[i])
end
