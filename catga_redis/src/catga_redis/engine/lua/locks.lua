-- {p}:lock:<name>  hash: t token, f fencing token, e end of the lease
-- a[i]: name, token, lease
local function apply_acquire(a, i)
  local key = P .. 'lock:' .. a[i]
  local found = redis.call('HMGET', key, 't', 'f', 'e')
  if found[1] and tonumber(found[3]) > now() then
    -- The same call asks again, because its answer was lost.
    return found[1] == a[i + 1] and { tonumber(found[2]), found[3] } or false
  end
  local fencing, ends = next_token(), exact(now() + tonumber(a[i + 2]))
  redis.call('HSET', key, 't', a[i + 1], 'f', fencing, 'e', ends)
  expire(key, tonumber(a[i + 2]))
  return { fencing, ends }
end

-- a[i]: name, token, lease
local function apply_renew_lock(a, i)
  local key = P .. 'lock:' .. a[i]
  local found = redis.call('HMGET', key, 't', 'e')
  if found[1] ~= a[i + 1] or tonumber(found[2]) <= now() then
    return false
  end
  local ends = exact(now() + tonumber(a[i + 2]))
  redis.call('HSET', key, 'e', ends)
  expire(key, tonumber(a[i + 2]))
  return ends
end

-- a[i]: name, token
local function apply_release_lock(a, i)
  local key = P .. 'lock:' .. a[i]
  local found = redis.call('HMGET', key, 't', 'e')
  if found[1] ~= a[i + 1] then
    return 0
  end
  redis.call('DEL', key)
  wake('l:' .. a[i])
  return tonumber(found[2]) > now() and 1 or 0
end

-- a[i]: name. Seconds until the lease ends, nothing when it is free.
local function apply_lock_left(a, i)
  local ends = redis.call('HGET', P .. 'lock:' .. a[i], 'e')
  return ends and tonumber(ends) > now() and exact(tonumber(ends) - now()) or false
end
