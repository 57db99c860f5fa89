-- {p}:idem:<key>  hash: t fencing token, o operation, e end of the lease; r result, x end of its memory
-- a[i]: key, operation, lease, retention. The answer to who gets it is "<fencing token>:<end of the lease>".
local function apply_claim(a, i)
  local key = P .. 'idem:' .. a[i]
  local found = redis.call('HMGET', key, 't', 'o', 'e', 'r', 'x')
  local token, operation, until_, result, remembered = found[1], found[2], found[3], found[4], found[5]
  if result and tonumber(remembered) > now() then
    return { 'completed', result }
  end
  if token and not result and tonumber(until_) > now() then
    -- The same claim asks again, because its answer was lost.
    if operation == a[i + 1] then
      return token .. ':' .. until_
    end
    return { 'busy', until_ }
  end
  local mine, ends = next_token(), exact(now() + tonumber(a[i + 2]))
  redis.call('HSET', key, 't', mine, 'o', a[i + 1], 'e', ends)
  if result then
    redis.call('HDEL', key, 'r', 'x')
  end
  expire(key, tonumber(a[i + 2]) + tonumber(a[i + 3]))
  return string.format('%.0f:%s', mine, ends)
end

local function holds(key, token)
  return redis.call('HGET', key, 't') == token
end

-- a[i]: key, token, lease, retention
local function apply_renew_claim(a, i)
  local key = P .. 'idem:' .. a[i]
  if not holds(key, a[i + 1]) or redis.call('HEXISTS', key, 'r') == 1 then
    return false
  end
  local ends = exact(now() + tonumber(a[i + 2]))
  redis.call('HSET', key, 'e', ends)
  expire(key, tonumber(a[i + 2]) + tonumber(a[i + 3]))
  return ends
end

-- a[i]: key, token, result, ttl
local function check_complete(a, i)
  if not holds(P .. 'idem:' .. a[i], a[i + 1]) then
    return { 'lost', a[i] }
  end
end
local function apply_complete(a, i)
  local key = P .. 'idem:' .. a[i]
  -- Recorded once: asking again, because the answer was lost, changes nothing.
  if redis.call('HEXISTS', key, 'r') == 0 then
    redis.call('HSET', key, 'r', a[i + 2], 'x', exact(now() + tonumber(a[i + 3])))
    expire(key, tonumber(a[i + 3]))
    wake('i:' .. a[i])
  end
  return 1
end

-- a[i]: key, token
local function apply_release_claim(a, i)
  local key = P .. 'idem:' .. a[i]
  if holds(key, a[i + 1]) and redis.call('HEXISTS', key, 'r') == 0 then
    redis.call('DEL', key)
    wake('i:' .. a[i])
  end
  return 1
end

-- a[i]: key. What one who waits has to know: a result, or the seconds until the lease ends; nothing when the key is free.
local function apply_look(a, i)
  local found = redis.call('HMGET', P .. 'idem:' .. a[i], 'e', 'r', 'x')
  if found[2] then
    return tonumber(found[3]) > now() and { 'completed', found[2] } or { 'free' }
  end
  if found[1] and tonumber(found[1]) > now() then
    return { 'busy', exact(tonumber(found[1]) - now()) }
  end
  return { 'free' }
end
