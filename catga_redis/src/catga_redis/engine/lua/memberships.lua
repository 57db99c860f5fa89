-- {p}:members:<group>  sorted set of member by the end of its lease
-- a[i]: group, member, lease
local function apply_announce(a, i)
  local key, lease = P .. 'members:' .. a[i], tonumber(a[i + 2])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', exact(now()))
  redis.call('ZADD', key, exact(now() + lease), a[i + 1])
  if redis.call('PTTL', key) < lease * 1000 then
    expire(key, lease)
  end
  return redis.call('ZRANGE', key, 0, -1)
end

-- a[i]: group
local function apply_list_members(a, i)
  return redis.call('ZRANGEBYSCORE', P .. 'members:' .. a[i], '(' .. exact(now()), '+inf')
end

-- a[i]: group, member
local function apply_leave_group(a, i)
  local key = P .. 'members:' .. a[i]
  local ends = redis.call('ZSCORE', key, a[i + 1])
  redis.call('ZREM', key, a[i + 1])
  return ends and tonumber(ends) > now() and 1 or 0
end
