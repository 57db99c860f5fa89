-- Queues. <n> is the number of a row, 16 digits, so that they sort as text; of a queue the sets below end with its name.
-- {p}:q:seq           the last number, of a row or a place
-- {p}:q:names         set of the names of queues
-- {p}:q:m:<n>         hash: d message, i message id, q queue, k key, p priority, n wire name, f fingerprint; r when it becomes due for the
--                     first time, u end of the lease or next attempt (0 for at once), s place, l '1' while a consumer has it, t fencing
--                     token, a attempts, e error; z when it was done, x result
-- {p}:q:ids:<queue>       hash of message id -> n, until it is pruned
-- {p}:q:placed:<queue>    sorted set by place: what has become due and is not done
-- {p}:q:ready:<queue>     sorted set by priority and place: what may be given to anybody now
-- {p}:q:leased:<queue>    sorted set by the end of the lease
-- {p}:q:retrying:<queue>  sorted set by the next attempt
-- {p}:q:scheduled:<queue> sorted set by the first attempt
-- {p}:q:held:<queue>      set of held keys
-- {p}:q:done          sorted set of n by when it was done
-- {p}:q:k:<length of queue>:<queue>:<key>  list of the n of a key, by place. Only its first is in ready, leased or retrying, and of a held
--                     key none. One whose time has come goes to ready with the next lease.
local Q = P .. 'q:'

local function q_lane(queue, key)
  return Q .. 'k:' .. #queue .. ':' .. queue .. ':' .. key
end

local function q_rank(priority, place)
  return string.format('%.0f', tonumber(priority) * 2251799813685248 + tonumber(place))
end

local function q_number()
  return string.format('%016.0f', redis.call('INCR', Q .. 'seq'))
end

local function q_text(given)
  return string.sub(given, 1, 1) == '1' and string.sub(given, 2)
end

local function q_ready(queue, n)
  local found = redis.call('HMGET', Q .. 'm:' .. n, 'p', 's')
  redis.call('ZADD', Q .. 'ready:' .. queue, q_rank(found[1], found[2]), n)
end

-- The key's list first: where another program has made it something else, nothing of this message is written.
local function q_place(queue, n, key, priority, place)
  local first = true
  if key then
    first = redis.call('RPUSH', q_lane(queue, key), n) == 1 and redis.call('SISMEMBER', Q .. 'held:' .. queue, key) == 0
  end
  redis.call('HSET', Q .. 'm:' .. n, 's', place, 'u', 0)
  redis.call('ZADD', Q .. 'placed:' .. queue, place, n)
  if first then
    redis.call('ZADD', Q .. 'ready:' .. queue, q_rank(priority, place), n)
    wake('q')
  end
end

local function q_offer_head(queue, key)
  local first = redis.call('LINDEX', q_lane(queue, key), 0)
  if first and redis.call('SISMEMBER', Q .. 'held:' .. queue, key) == 0 then
    q_ready(queue, first)
    wake('q')
  end
end

local function q_withdraw(queue, n, key)
  for _, set in ipairs({ 'ready:', 'leased:', 'retrying:', 'placed:' }) do
    redis.call('ZREM', Q .. set .. queue, n)
  end
  if key then
    local lane = q_lane(queue, key)
    if redis.call('LINDEX', lane, 0) == n then
      redis.call('LPOP', lane)
      q_offer_head(queue, key)
    else
      redis.call('LREM', lane, 1, n)
    end
  end
end

-- a[i]: queue, message id, place, token. What was leased so, and neither given back nor taken over since, whatever the time.
local function q_owned(a, i)
  local n = redis.call('HGET', Q .. 'ids:' .. a[i], a[i + 1])
  if n then
    local found = redis.call('HMGET', Q .. 'm:' .. n, 's', 't', 'l', 'k', 'a')
    if found[1] == a[i + 2] and found[2] == a[i + 3] and found[3] == '1' then
      return n, found[4], tonumber(found[5])
    end
  end
end

-- Refuses keys that another program has made something else, before anything is written.
local function q_check(queue)
  for _, set in ipairs({ 'placed:', 'ready:', 'leased:', 'retrying:', 'scheduled:' }) do
    redis.call('ZCARD', Q .. set .. queue)
  end
  redis.call('SCARD', Q .. 'held:' .. queue)
  redis.call('HLEN', Q .. 'ids:' .. queue)
  redis.call('ZCARD', Q .. 'done')
end

-- What earlier operations of the same unit of work will have added or removed: all are checked before one is applied.
local q_foreseen, q_ended = {}, {}
local function q_entry(queue, id)
  return #queue .. ':' .. queue .. ':' .. id
end

-- a[i]: message id, key ('0' for none, else '1' and the key), priority, due at, wire name, fingerprint, message, number of queues, queues
local function check_add_queued(a, i)
  redis.call('SCARD', Q .. 'names')
  for at = i + 8, i + 7 + tonumber(a[i + 7]) do
    local queue, entry = a[at], q_entry(a[at], a[i])
    q_check(queue)
    local known = q_foreseen[entry]
    if known == nil then
      local n = redis.call('HGET', Q .. 'ids:' .. queue, a[i])
      known = n and redis.call('HGET', Q .. 'm:' .. n, 'f')
    end
    if known and not same_content(known, a[i + 5]) then
      return { 'known', a[i], 'the queue ' .. queue }
    end
    q_foreseen[entry] = known or a[i + 5]
    local key = q_text(a[i + 1])
    if key then
      redis.call('LLEN', q_lane(queue, key))
    end
  end
  return check_counter('q:seq')
end
local function apply_add_queued(a, i)
  local id, key, due = a[i], q_text(a[i + 1]), tonumber(a[i + 3])
  for at = i + 8, i + 7 + tonumber(a[i + 7]) do
    local queue = a[at]
    if redis.call('HEXISTS', Q .. 'ids:' .. queue, id) == 0 then
      local n = q_number()
      local ready_at = exact(math.max(due, now()))
      redis.call('SADD', Q .. 'names', queue)
      redis.call('HSET', Q .. 'ids:' .. queue, id, n)
      redis.call('HSET', Q .. 'm:' .. n, 'd', a[i + 6], 'i', id, 'q', queue, 'p', a[i + 2], 'n', a[i + 4], 'f', a[i + 5],
        'r', ready_at, 'u', ready_at, 't', 0, 'a', 0)
      if key then
        redis.call('HSET', Q .. 'm:' .. n, 'k', key)
      end
      local scheduled = Q .. 'scheduled:' .. queue
      local first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
      -- Behind those whose time has come, and which have no place yet.
      if due > now() or (first[2] and tonumber(first[2]) <= now()) then
        redis.call('ZADD', scheduled, ready_at, n)
        if not first[2] or tonumber(first[2]) > due then
          wake('q')
        end
      else
        q_place(queue, n, key, a[i + 2], n)
      end
    end
  end
  return 1
end

local function q_ripen(queue, most, far)
  local scheduled = Q .. 'scheduled:' .. queue
  for _, n in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', exact(now()), 'LIMIT', 0, most)) do
    local found = redis.call('HMGET', Q .. 'm:' .. n, 'k', 'p')
    q_place(queue, n, found[1], found[2], q_number())
    redis.call('ZREM', scheduled, n)
  end
  local function ready(set, from, to)
    local found = redis.call('ZRANGEBYSCORE', set, from, to, 'LIMIT', 0, most)
    for _, n in ipairs(found) do
      q_ready(queue, n)
      redis.call('ZREM', set, n)
    end
    return found
  end
  ready(Q .. 'leased:' .. queue, '-inf', exact(now()))
  ready(Q .. 'retrying:' .. queue, '-inf', exact(now()))
  if far then
    -- Given back before the clock stepped back: the wait is over.
    for _, n in ipairs(ready(Q .. 'retrying:' .. queue, '(' .. exact(now() + far), '+inf')) do
      redis.call('HSET', Q .. 'm:' .. n, 'u', 0)
    end
  end
end

-- a[i]: lease, longest delay ('' for any), number of queues, then name and limit of each
local function check_lease_queued(a, i)
  for at = i + 3, i + 1 + 2 * tonumber(a[i + 2]), 2 do
    q_check(a[at])
  end
  return check_counter('fence') or check_counter('q:seq')
end
local function apply_lease_queued(a, i)
  local ends, given, token = exact(now() + tonumber(a[i])), {}, nil
  for at = i + 3, i + 1 + 2 * tonumber(a[i + 2]), 2 do
    local queue, limit = a[at], tonumber(a[at + 1])
    q_ripen(queue, math.max(20, 2 * limit), tonumber(a[i + 1]))
    local taken = limit > 0 and redis.call('ZRANGE', Q .. 'ready:' .. queue, 0, limit - 1) or {}
    for _, n in ipairs(taken) do
      token = token or next_token()
      local m = Q .. 'm:' .. n
      local found = redis.call('HMGET', m, 's', 'd', 'a', 'e')
      local attempts = tonumber(found[3]) + 1
      redis.call('HSET', m, 't', token, 'u', ends, 'a', attempts, 'l', 1)
      redis.call('ZADD', Q .. 'leased:' .. queue, ends, n)
      given[#given + 1] = { queue, found[1], found[2], attempts, found[4] }
    end
    if #taken > 0 then
      redis.call('ZREMRANGEBYRANK', Q .. 'ready:' .. queue, 0, #taken - 1)
    end
  end
  return { token or 0, given }
end

-- a[i]: number of messages, lease, then queue, message id, place and token of each. Answers which of them are renewed, from 1.
local function apply_renew_queued(a, i)
  local ends, kept = exact(now() + tonumber(a[i + 1])), {}
  for k = 1, tonumber(a[i]) do
    local at = i - 2 + 4 * k
    local n = q_owned(a, at)
    if n then
      redis.call('HSET', Q .. 'm:' .. n, 'u', ends)
      redis.call('ZREM', Q .. 'ready:' .. a[at], n)
      redis.call('ZADD', Q .. 'leased:' .. a[at], ends, n)
      kept[#kept + 1] = k
    end
  end
  return kept
end

-- a[i]: number of messages, whether all must be the caller's, result ('0' for none, else '1' and the result), then queue, message id,
-- place, token and the message without its bytes of each
local function check_complete_queued(a, i)
  local ending = {}
  for k = 1, tonumber(a[i]) do
    local at = i - 2 + 5 * k
    local entry, owned = q_entry(a[at], a[at + 1]), q_owned(a, at)
    q_check(a[at])
    if a[i + 1] == '1' and (q_ended[entry] or not owned) then
      return { 'left', a[at], a[at + 1] }
    end
    ending[#ending + 1] = owned and entry or nil
  end
  -- After all of them: one that is given twice is completed once.
  for _, entry in ipairs(ending) do
    q_ended[entry] = true
  end
end
local function apply_complete_queued(a, i)
  local result = q_text(a[i + 2])
  for k = 1, tonumber(a[i]) do
    local at = i - 2 + 5 * k
    local n, key = q_owned(a, at)
    if n then
      local m = Q .. 'm:' .. n
      redis.call('HSET', m, 'd', a[at + 4], 'z', exact(now()))
      redis.call('HDEL', m, 'l', 's')
      if result then
        redis.call('HSET', m, 'x', result)
      end
      redis.call('ZADD', Q .. 'done', exact(now()), n)
      q_withdraw(a[at], n, key)
    end
  end
  return 1
end

-- a[i]: queue, message id, place, token, delay, error
local function apply_retry_queued(a, i)
  local n = q_owned(a, i)
  if n then
    local delay, m = tonumber(a[i + 4]), Q .. 'm:' .. n
    redis.call('HDEL', m, 'l')
    redis.call('ZREM', Q .. 'leased:' .. a[i], n)
    if delay > 0 then
      local due = exact(now() + delay)
      redis.call('HSET', m, 'u', due, 'e', a[i + 5])
      redis.call('ZREM', Q .. 'ready:' .. a[i], n)
      redis.call('ZADD', Q .. 'retrying:' .. a[i], due, n)
    else
      redis.call('HSET', m, 'u', 0, 'e', a[i + 5])
      q_ready(a[i], n)
    end
    wake('q')
  end
  return 1
end

-- a[i]: number of messages, then queue, message id, place and token of each
local function apply_release_queued(a, i)
  for k = 1, tonumber(a[i]) do
    local at = i - 3 + 4 * k
    local n, _, attempts = q_owned(a, at)
    if n then
      local m = Q .. 'm:' .. n
      redis.call('HSET', m, 'u', 0, 'a', attempts - 1)
      redis.call('HDEL', m, 'l')
      redis.call('ZREM', Q .. 'leased:' .. a[at], n)
      q_ready(a[at], n)
      wake('q')
    end
  end
  return 1
end

local function q_forget(queue, id, n, key)
  redis.call('DEL', Q .. 'm:' .. n)
  redis.call('HDEL', Q .. 'ids:' .. queue, id)
  redis.call('ZREM', Q .. 'scheduled:' .. queue, n)
  q_withdraw(queue, n, key)
end

-- a[i]: queue, message id, place, token, whether to hold its key. Refused when another has it, or it is gone.
local function check_discard_queued(a, i)
  local entry = q_entry(a[i], a[i + 1])
  if q_ended[entry] or not q_owned(a, i) then
    return { 'ended', a[i + 1] }
  end
  q_check(a[i])
  q_ended[entry], q_foreseen[entry] = true, false
end
local function apply_discard_queued(a, i)
  local n, key = q_owned(a, i)
  if key and a[i + 4] == '1' then
    redis.call('SADD', Q .. 'held:' .. a[i], key)
  end
  q_forget(a[i], a[i + 1], n, key)
end
local function apply_may_discard(a, i)
  return q_owned(a, i) and 1 or 0
end

-- a[i]: queue, message id, place, token. Refused as a complete is; writes nothing.
local function check_require_queued(a, i)
  if q_ended[q_entry(a[i], a[i + 1])] or not q_owned(a, i) then
    return { 'left', a[i], a[i + 1] }
  end
end
local function apply_require_queued()
end

-- a[i]: queue, key. Refused when it is not held.
local function check_release_key(a, i)
  if redis.call('SISMEMBER', Q .. 'held:' .. a[i], a[i + 1]) == 0 then
    return { 'released', a[i + 1] }
  end
  q_check(a[i])
end
local function apply_release_key(a, i)
  redis.call('SREM', Q .. 'held:' .. a[i], a[i + 1])
  q_offer_head(a[i], a[i + 1])
end
local function apply_is_key_held(a, i)
  return redis.call('SISMEMBER', Q .. 'held:' .. a[i], a[i + 1])
end

local function q_waiting(queue, id)
  local n = redis.call('HGET', Q .. 'ids:' .. queue, id)
  if n then
    local found = redis.call('HMGET', Q .. 'm:' .. n, 'z', 'l', 'u', 'k')
    if not found[1] and not (found[2] and tonumber(found[3]) > now()) then
      return n, found[4]
    end
  end
end

-- a[i]: queue, message id. Refused when it is leased, done or not there.
local function check_cancel_queued(a, i)
  local entry = q_entry(a[i], a[i + 1])
  if q_ended[entry] or not q_waiting(a[i], a[i + 1]) then
    return { 'ended', a[i + 1] }
  end
  q_check(a[i])
  q_ended[entry], q_foreseen[entry] = true, false
end
local function apply_cancel_queued(a, i)
  local n, key = q_waiting(a[i], a[i + 1])
  -- A scheduled one is in no list of its key.
  if redis.call('HEXISTS', Q .. 'm:' .. n, 's') == 0 then
    key = false
  end
  q_forget(a[i], a[i + 1], n, key)
end
local function apply_may_cancel(a, i)
  return q_waiting(a[i], a[i + 1]) and 1 or 0
end
