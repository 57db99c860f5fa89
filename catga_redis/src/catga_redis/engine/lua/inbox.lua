-- {p}:inbox    hash of message id and handler -> "<the operation that noted it>:<fingerprint of the message>"
-- {p}:inbox:t  sorted set of the same by time
-- A check that only counts refuses a key that another program has made something else.
-- a[i]: member, operation, fingerprint, message id, handler
local function check_record(a, i)
  local noted = redis.call('HGET', P .. 'inbox', a[i])
  if noted then
    local operation, fingerprint = string.match(noted, '^([^:]*):?(.*)$')
    if operation ~= a[i + 1] then
      return same_content(fingerprint, a[i + 2]) and { 'seen', a[i] } or { 'known', a[i + 3], 'the inbox of ' .. a[i + 4] }
    end
  end
  redis.call('ZCARD', P .. 'inbox:t')
end
local function apply_record(a, i)
  redis.call('ZADD', P .. 'inbox:t', exact(now()), a[i])
  -- Last: where a command was refused before, a repetition must not find it noted.
  redis.call('HSET', P .. 'inbox', a[i], a[i + 1] .. ':' .. a[i + 2])
  return 1
end

-- a[i]: member
local function check_forget()
  redis.call('HLEN', P .. 'inbox')
  redis.call('ZCARD', P .. 'inbox:t')
end
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
