-- {p}:inbox    hash of message id and handler -> the operation that noted it
-- {p}:inbox:t  sorted set of the same by time
-- a[i]: member, operation
local function check_record(a, i)
  local noted = redis.call('HGET', P .. 'inbox', a[i])
  if noted and noted ~= a[i + 1] then
    return { 'seen', a[i] }
  end
end
local function apply_record(a, i)
  redis.call('HSET', P .. 'inbox', a[i], a[i + 1])
  redis.call('ZADD', P .. 'inbox:t', exact(now()), a[i])
  return 1
end

-- a[i]: member
local function apply_forget(a, i)
  redis.call('HDEL', P .. 'inbox', a[i])
  return redis.call('ZREM', P .. 'inbox:t', a[i])
end

-- a[i]: older than (seconds), limit
local function apply_prune_inbox(a, i)
  local until_ = '(' .. exact(now() - tonumber(a[i]))
  local old = redis.call('ZRANGEBYSCORE', P .. 'inbox:t', '-inf', until_, 'LIMIT', 0, a[i + 1])
  for _, member in ipairs(old) do
    redis.call('HDEL', P .. 'inbox', member)
    redis.call('ZREM', P .. 'inbox:t', member)
  end
  return #old
end
