-- {p}:ob:seq       the last sequence
-- {p}:ob:m:<seq>   hash: d message, i message id, k key; t fencing token, u end of the lease or next try, a attempts, e error
-- {p}:ob:ids       hash of message id -> fingerprint of the message, until it is pruned
-- {p}:ob:pending   sorted set of sequences by when they were made
-- {p}:ob:ready     sorted set by sequence: what may be given to anybody now
-- {p}:ob:later     sorted set by time: what is leased or waits for its next try
-- {p}:ob:retrying  set of sequences that have failed
-- {p}:ob:sent      sorted set of message ids by when they were sent
-- {p}:ob:k:<key>   list of the sequences of a key. Only its first is in ready or later, so that no other one is given before it.
--                  Those that are leased are its first ones: a lease ends with that of any before it.
local O = P .. 'ob:'

local function is_first(sequence, group)
  return not group or redis.call('LINDEX', O .. 'k:' .. group, 0) == sequence
end

local function offer(sequence, due)
  if due > now() then
    -- One whose lease has run out may have become ready since.
    redis.call('ZREM', O .. 'ready', sequence)
    redis.call('ZADD', O .. 'later', exact(due), sequence)
  else
    redis.call('ZREM', O .. 'later', sequence)
    redis.call('ZADD', O .. 'ready', sequence, sequence)
    wake('o')
  end
end

local function remove(sequence, group)
  redis.call('ZREM', O .. 'ready', sequence)
  redis.call('ZREM', O .. 'later', sequence)
  redis.call('ZREM', O .. 'pending', sequence)
  redis.call('SREM', O .. 'retrying', sequence)
  redis.call('DEL', O .. 'm:' .. sequence)
  if group then
    local queue = O .. 'k:' .. group
    local was_first = redis.call('LINDEX', queue, 0) == sequence
    redis.call('LREM', queue, 1, sequence)
    local first = was_first and redis.call('LINDEX', queue, 0)
    if first then
      offer(first, tonumber(redis.call('HGET', O .. 'm:' .. first, 'u')))
    end
  end
end

-- Ends the leases of a key from a place of its list on. Those that are leased come first.
local function end_leases(group, place)
  local sequence = redis.call('LINDEX', O .. 'k:' .. group, place)
  while sequence and redis.call('HGET', O .. 'm:' .. sequence, 't') ~= '0' do
    redis.call('HSET', O .. 'm:' .. sequence, 't', 0, 'u', 0)
    place = place + 1
    sequence = redis.call('LINDEX', O .. 'k:' .. group, place)
  end
end

-- Refuses keys that another program has made something else, before anything is written.
local is_outbox_sound
local function check_outbox()
  if not is_outbox_sound then
    redis.call('HLEN', O .. 'ids')
    redis.call('SCARD', O .. 'retrying')
    for _, set in ipairs({ 'pending', 'ready', 'later', 'sent' }) do
      redis.call('ZCARD', O .. set)
    end
    is_outbox_sound = true
  end
end
local function check_lease()
  check_outbox()
  return check_counter('fence')
end
local check_renew, check_sent, check_retry, check_give_back = check_outbox, check_outbox, check_outbox, check_outbox

-- What earlier operations of the same unit of work will have added: all are checked before one is applied.
local foreseen_messages = {}

-- a[i]: number of messages, then id, key ('0' for none, else '1' and the key), created at, message, fingerprint of each
local function check_add(a, i)
  check_outbox()
  for n = 0, tonumber(a[i]) - 1 do
    local at = i + 1 + 5 * n
    local known = foreseen_messages[a[at]] or redis.call('HGET', O .. 'ids', a[at])
    if known and not same_content(known, a[at + 4]) then
      return { 'known', a[at], 'the outbox' }
    end
    foreseen_messages[a[at]] = known or a[at + 4]
    if string.sub(a[at + 1], 1, 1) == '1' then
      redis.call('LLEN', O .. 'k:' .. string.sub(a[at + 1], 2))
    end
  end
  return check_counter('ob:seq')
end
local function apply_add(a, i)
  for n = 0, tonumber(a[i]) - 1 do
    local at = i + 1 + 5 * n
    local id, group = a[at], string.sub(a[at + 1], 1, 1) == '1' and string.sub(a[at + 1], 2)
    if redis.call('HEXISTS', O .. 'ids', id) == 0 then
      local sequence = string.format('%.0f', redis.call('INCR', O .. 'seq'))
      local message = O .. 'm:' .. sequence
      redis.call('HSET', message, 'd', a[at + 3], 'i', id, 't', 0, 'u', 0, 'a', 0)
      redis.call('ZADD', O .. 'pending', a[at + 2], sequence)
      if group then
        redis.call('HSET', message, 'k', group)
      end
      if not group or redis.call('RPUSH', O .. 'k:' .. group, sequence) == 1 then
        redis.call('ZADD', O .. 'ready', sequence, sequence)
        wake('o')
      end
      -- Last: where a command was refused before, a repetition must not find the message known.
      redis.call('HSET', O .. 'ids', id, a[at + 4])
    end
  end
  return 1
end

-- a[i]: limit, lease, longest delay ('' for any). What waits for longer was given back before the clock stepped back: it is due.
local function apply_lease(a, i)
  local due = redis.call('ZRANGEBYSCORE', O .. 'later', '-inf', exact(now()))
  for _, sequence in ipairs(due) do
    redis.call('ZREM', O .. 'later', sequence)
    redis.call('ZADD', O .. 'ready', sequence, sequence)
  end
  local far = tonumber(a[i + 2])
  if far then
    local late = redis.call('ZRANGEBYSCORE', O .. 'later', '(' .. exact(now() + far), '+inf', 'LIMIT', 0, 100)
    for _, sequence in ipairs(late) do
      if redis.call('HGET', O .. 'm:' .. sequence, 't') == '0' then
        redis.call('ZREM', O .. 'later', sequence)
        redis.call('ZADD', O .. 'ready', sequence, sequence)
      end
    end
  end
  local limit, ends = tonumber(a[i]), exact(now() + tonumber(a[i + 1]))
  local given, taken, taken_over, extra, token = {}, {}, {}, {}, nil
  while #given < limit do
    local sequence = redis.call('ZRANGE', O .. 'ready', 0, 0)[1]
    if not sequence then
      break
    end
    local message = O .. 'm:' .. sequence
    local found = redis.call('HMGET', message, 'd', 'k', 't', 'a', 'e')
    local group = found[2]
    token = token or next_token()
    redis.call('HSET', message, 't', token, 'u', ends)
    redis.call('ZREM', O .. 'ready', sequence)
    extra[sequence] = nil
    if group then
      local queue, count = O .. 'k:' .. group, (taken[group] or 0) + 1
      taken[group] = count
      taken_over[group] = found[3] ~= '0' or nil
      if count == 1 then
        redis.call('ZADD', O .. 'later', ends, sequence)
      end
      local following = redis.call('LINDEX', queue, count)
      if following and tonumber(redis.call('HGET', O .. 'm:' .. following, 'u')) <= now() then
        redis.call('ZADD', O .. 'ready', following, following)
        extra[following] = true
      end
    else
      redis.call('ZADD', O .. 'later', ends, sequence)
    end
    given[#given + 1] = { sequence, found[1], found[4], found[5] or '' , found[5] and 1 or 0 }
  end
  -- What comes after what was given is nobody's yet, and not the first of its key.
  for sequence in pairs(extra) do
    redis.call('ZREM', O .. 'ready', sequence)
  end
  -- Whoever had the last before has lost those after it as well: it would send them first.
  for group in pairs(taken_over) do
    end_leases(group, taken[group])
  end
  return { token or 0, given }
end

local function held(sequence, token)
  local found = redis.call('HMGET', O .. 'm:' .. sequence, 't', 'k', 'i', 'a')
  if found[1] and found[1] == token and token ~= '0' then
    return { group = found[2], id = found[3], attempts = tonumber(found[4]) }
  end
end

-- Ends the leases of those of a key that come after a message: they must not be sent before it.
local function end_leases_behind(sequence, group)
  local place = 0
  local at = group and redis.call('LINDEX', O .. 'k:' .. group, place)
  while at and at ~= sequence do
    place = place + 1
    at = redis.call('LINDEX', O .. 'k:' .. group, place)
  end
  if at then
    end_leases(group, place + 1)
  end
end

-- a[i]: number of messages, lease, then sequence and token of each
local function apply_renew(a, i)
  local ends, kept = exact(now() + tonumber(a[i + 1])), {}
  for n = 1, tonumber(a[i]) do
    local sequence, token = a[i + 2 * n], a[i + 1 + 2 * n]
    local message = held(sequence, token)
    if message then
      redis.call('HSET', O .. 'm:' .. sequence, 'u', ends)
      if is_first(sequence, message.group) then
        redis.call('ZREM', O .. 'ready', sequence)
        redis.call('ZADD', O .. 'later', ends, sequence)
      end
      kept[#kept + 1] = sequence
    end
  end
  return kept
end

-- a[i]: number of messages, then sequence and token of each
local function apply_sent(a, i)
  for n = 1, tonumber(a[i]) do
    local sequence, token = a[i - 1 + 2 * n], a[i + 2 * n]
    local message = held(sequence, token)
    if message then
      redis.call('ZADD', O .. 'sent', exact(now()), message.id)
      remove(sequence, message.group)
    end
  end
  return 1
end

-- a[i]: sequence, token, delay, error
local function apply_retry(a, i)
  local message = held(a[i], a[i + 1])
  if message then
    local due = now() + tonumber(a[i + 2])
    redis.call('HSET', O .. 'm:' .. a[i], 't', 0, 'u', exact(due), 'a', message.attempts + 1, 'e', a[i + 3])
    redis.call('SADD', O .. 'retrying', a[i])
    end_leases_behind(a[i], message.group)
    if is_first(a[i], message.group) then
      offer(a[i], due)
    end
  end
  return 1
end

-- a[i]: number of messages, then sequence and token of each
local function apply_give_back(a, i)
  for n = 1, tonumber(a[i]) do
    local sequence, token = a[i - 1 + 2 * n], a[i + 2 * n]
    local message = held(sequence, token)
    if message then
      redis.call('HSET', O .. 'm:' .. sequence, 't', 0, 'u', 0)
      end_leases_behind(sequence, message.group)
      if is_first(sequence, message.group) then
        offer(sequence, 0)
      end
    end
  end
  return 1
end

-- a[i]: sequence, token. Refused when another has it, or it is gone.
local function check_discard(a, i)
  if not held(a[i], a[i + 1]) then
    return { 'taken', a[i] }
  end
  check_outbox()
end
local function apply_discard(a, i)
  local message = held(a[i], a[i + 1])
  redis.call('HDEL', O .. 'ids', message.id)
  remove(a[i], message.group)
end

-- a[i]: sequence, token. What `discard` would do now.
local function apply_is_held(a, i)
  return check_discard(a, i) and 0 or 1
end

local function apply_outbox_stats()
  local oldest = redis.call('ZRANGE', O .. 'pending', 0, 0, 'WITHSCORES')
  return { redis.call('ZCARD', O .. 'pending'), oldest[2] or false, redis.call('SCARD', O .. 'retrying') }
end

-- Seconds until something is due, nothing when nothing ever will be.
local function apply_due_in()
  if redis.call('EXISTS', O .. 'ready') == 1 then
    return '0'
  end
  local first = redis.call('ZRANGE', O .. 'later', 0, 0, 'WITHSCORES')
  return first[2] and exact(math.max(0, tonumber(first[2]) - now())) or false
end

-- a[i]: older than (seconds), limit
local function apply_prune_outbox(a, i)
  local until_ = '(' .. exact(now() - tonumber(a[i]))
  local old = redis.call('ZRANGEBYSCORE', O .. 'sent', '-inf', until_, 'LIMIT', 0, a[i + 1])
  for _, id in ipairs(old) do
    redis.call('HDEL', O .. 'ids', id)
    redis.call('ZREM', O .. 'sent', id)
  end
  return #old
end
