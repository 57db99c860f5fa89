-- Sagas: what the process that runs one writes. <n> is the number of a saga, 16 digits, so that equal times are in the order of the begins.
-- {p}:sg:m:<id>       hash: i what never changes, n name, v version, b data, p parent, k <n>, s state, c created at, u updated at; e when it
--                     is due or its lease ends, l '1' while it is leased, t fencing token, z operation that claimed it, r its last release as
--                     "<token>:<entries>:<state>", x '1' when its cancellation was requested, o outcome, q problem, y '1' while its end is awaited
-- {p}:sg:j:<id>       list: the journal
-- {p}:sg:ids          sorted set of the ids, all with score 0
-- {p}:sg:vs:<name>    set of the versions of a name
-- {p}:sg:due:<version>:<name>  sorted set of "<n>:<id>" by the time at which they are due: those that are not leased
-- {p}:sg:run:<version>:<name>  the same of those that are leased, by the end of the lease
-- {p}:sg:w:<topic>    set of the ids that wait for a topic; {p}:sg:t:<id> set of the topics of one
-- {p}:sg:ended        sorted set of the ids that are pruned after a time, by when they ended
-- {p}:sg:pos          the last position of a signal, 16 digits as <pos>
-- {p}:sg:g:<pos>      hash of a signal: t topic, i message id, d data, o operation that added it
-- {p}:sg:gi:<topic>   hash of message id -> <pos>; {p}:sg:gp:<topic> sorted set of <pos> by itself; {p}:sg:gt sorted set of <pos> by time
local SG = P .. 'sg:'
local sg_final = { completed = true, compensated = true, compensation_failed = true, cancelled = true }

local function sg_kind(set, name, version)
  return SG .. set .. version .. ':' .. name
end

local function sg_text(given)
  return string.sub(given, 1, 1) == '1' and string.sub(given, 2)
end

-- Refuses keys that another program has made something else, before anything is written.
local function sg_check(name, version)
  redis.call('ZCARD', sg_kind('due:', name, version))
  redis.call('ZCARD', sg_kind('run:', name, version))
  redis.call('SCARD', SG .. 'vs:' .. name)
end

local function sg_read(id)
  local m = SG .. 'm:' .. id
  local found = redis.call('HMGET', m, 'i', 'n', 'v', 'b', 's', 'c', 'u', 'e', 'l', 'x', 'o', 'q')
  if not found[1] then
    return false
  end
  found[13] = redis.call('LLEN', SG .. 'j:' .. id)
  found[14] = id
  return found
end

-- How many more sagas of a name may be leased.
local function sg_room(name, most)
  local room = tonumber(most)
  for _, version in ipairs(redis.call('SMEMBERS', SG .. 'vs:' .. name)) do
    room = room - redis.call('ZCOUNT', sg_kind('run:', name, version), '(' .. exact(now()), '+inf')
  end
  return room
end

local function sg_is_due(set, name, version)
  local first = redis.call('ZRANGE', sg_kind(set, name, version), 0, 0, 'WITHSCORES')[2]
  return first and tonumber(first) <= now()
end

-- Whether a saga of a name waits for its turn, or was left by a process that is dead.
local function sg_queued(name)
  for _, version in ipairs(redis.call('SMEMBERS', SG .. 'vs:' .. name)) do
    if sg_is_due('due:', name, version) or sg_is_due('run:', name, version) then
      return true
    end
  end
  return false
end

local function sg_push(id, entries, from, to)
  local at = from
  while at <= to do
    local last = math.min(to, at + 999)
    redis.call('RPUSH', SG .. 'j:' .. id, unpack(entries, at, last))
    at = last + 1
  end
end

-- Has a saga that is not leased due at a time.
local function sg_make_due(id, name, version, number, at)
  local due, member = sg_kind('due:', name, version), number .. ':' .. id
  redis.call('ZADD', due, at, member)
  redis.call('HSET', SG .. 'm:' .. id, 'e', at)
  if redis.call('ZRANGE', due, 0, 0)[1] == member then
    wake('sg')
  end
end

-- What earlier operations of the same unit of work will have made of sagas: all are checked before one is applied.
local sg_seen, sg_begun = {}, {}

local function sg_look(id)
  if not sg_seen[id] then
    local found = redis.call('HMGET', SG .. 'm:' .. id, 't', 'l', 'r', 'n', 'v')
    local entries = redis.call('LLEN', SG .. 'j:' .. id)
    sg_seen[id] = { token = found[1], leased = found[2] == '1', released = found[3], entries = entries }
    if found[4] then
      sg_check(found[4], found[5])
    end
  end
  return sg_seen[id]
end

-- a[i]: id, token, entries before. Refuses a claim that was lost, and a gap.
local function sg_refuse(a, i)
  local saga = sg_look(a[i])
  if not saga.leased or saga.token ~= a[i + 1] then
    return { 'saga', a[i] }
  end
  if saga.entries < tonumber(a[i + 2]) then
    return { 'gap', a[i], tonumber(a[i + 2]), saga.entries }
  end
end

-- a[i]: id, name, version, what never changes, data, parent ('0' for none, else '1' and the id), lease, most ('' for no limit), operation,
-- token ('' for a new one), and where a unit of work has promised it '1' for a claim, '0' for none
local function check_begin_saga(a, i)
  local id, name = a[i], a[i + 1]
  redis.call('ZCARD', SG .. 'ids')
  sg_check(name, a[i + 2])
  local known = sg_look(id)
  if a[i + 10] then
    if known.token then
      return { 'begun', id }
    end
    if a[i + 10] == '1' and a[i + 7] ~= '' and (sg_queued(name) or sg_room(name, a[i + 7]) <= (sg_begun[name] or 0)) then
      return { 'turn', name }
    end
    sg_begun[name] = (sg_begun[name] or 0) + tonumber(a[i + 10])
    sg_seen[id] = { token = a[i + 9], leased = a[i + 10] == '1', entries = 0 }
  end
  return check_counter('fence')
end
local function apply_begin_saga(a, i)
  local id, name, version = a[i], a[i + 1], a[i + 2]
  local m, at = SG .. 'm:' .. id, exact(now())
  local known = redis.call('HMGET', m, 't', 'c', 'l', 'z')
  if known[1] then
    -- The same begin asks again, because its answer was lost.
    return known[4] == a[i + 8] and known[1] .. ':' .. known[2] .. ':' .. (known[3] or '0') or sg_read(id)
  end
  local leased = a[i + 10]
  if not leased then
    leased = (a[i + 7] == '' or (not sg_queued(name) and sg_room(name, a[i + 7]) > 0)) and '1' or '0'
  end
  local token = a[i + 9] ~= '' and a[i + 9] or string.format('%.0f', next_token())
  local number = string.format('%016.0f', tonumber(token))
  redis.call('HSET', m, 'i', a[i + 3], 'n', name, 'v', version, 'b', a[i + 4], 'k', number, 's', 'running', 'c', at, 'u', at, 't', token,
    'z', a[i + 8])
  redis.call('ZADD', SG .. 'ids', 0, id)
  redis.call('SADD', SG .. 'vs:' .. name, version)
  local parent = sg_text(a[i + 5])
  if parent then
    redis.call('HSET', m, 'p', parent)
  end
  if leased == '1' then
    local ends = exact(now() + tonumber(a[i + 6]))
    redis.call('HSET', m, 'l', '1', 'e', ends)
    redis.call('ZADD', sg_kind('run:', name, version), ends, number .. ':' .. id)
  else
    sg_make_due(id, name, version, number, at)
  end
  return token .. ':' .. at .. ':' .. leased
end

-- a[i]: id, name, most ('' for no limit). For a unit of work: a saga that is known, else a token, the time, and whether there is room.
local function apply_promise_saga(a, i)
  local known = sg_read(a[i])
  if known then
    return known
  end
  local free = a[i + 2] == '' or (not sg_queued(a[i + 1]) and sg_room(a[i + 1], a[i + 2]) > 0)
  return string.format('%.0f:%s:%s', next_token(), exact(now()), free and '1' or '0')
end

-- a[i]: id, token, entries before, state ('' for the same), number of entries, entries
local function check_append_saga(a, i)
  local refused = sg_refuse(a, i)
  if refused then
    return refused
  end
  local saga = sg_seen[a[i]]
  saga.entries = math.max(saga.entries, tonumber(a[i + 2]) + tonumber(a[i + 4]))
end
local function apply_append_saga(a, i)
  local m, after, count = SG .. 'm:' .. a[i], tonumber(a[i + 2]), tonumber(a[i + 4])
  local there = redis.call('LLEN', SG .. 'j:' .. a[i])
  if there < after + count then
    sg_push(a[i], a, i + 5 + there - after, i + 4 + count)
  elseif a[i + 3] == '' or redis.call('HGET', m, 's') == a[i + 3] then
    -- The same again, because its answer was lost.
    return 1
  end
  if a[i + 3] == '' then
    redis.call('HSET', m, 'u', exact(now()))
  else
    redis.call('HSET', m, 'u', exact(now()), 's', a[i + 3])
  end
  return 1
end

-- a[i]: id, token, entries before, state, number of entries, whether it ends ('1' final or parked), whether it is pruned after a time, when it is
-- due ('' for no time), outcome and problem ('0' for none, else '1' and the bytes), number of topics, entries, then topic and position of each
local function sg_release_of(a, i)
  return string.format('%s:%.0f:%s', a[i + 1], tonumber(a[i + 2]) + tonumber(a[i + 4]), a[i + 3])
end
local function check_release_saga(a, i)
  local saga, release = sg_look(a[i]), sg_release_of(a, i)
  for k = 1, tonumber(a[i + 10]) do
    redis.call('ZCARD', SG .. 'gp:' .. a[i + 9 + tonumber(a[i + 4]) + 2 * k])
    redis.call('SCARD', SG .. 'w:' .. a[i + 9 + tonumber(a[i + 4]) + 2 * k])
  end
  redis.call('SCARD', SG .. 't:' .. a[i])
  redis.call('ZCARD', SG .. 'ended')
  if saga.released == release then
    return
  end
  local refused = sg_refuse(a, i)
  if refused then
    return refused
  end
  saga.leased, saga.released = false, release
  saga.entries = math.max(saga.entries, tonumber(a[i + 2]) + tonumber(a[i + 4]))
end
local function apply_release_saga(a, i)
  local id, m, count = a[i], SG .. 'm:' .. a[i], tonumber(a[i + 4])
  local release = sg_release_of(a, i)
  local found = redis.call('HMGET', m, 'r', 'n', 'v', 'k', 'x', 'y')
  if found[1] == release then
    -- The same again, because its answer was lost.
    return 1
  end
  local name, version, number = found[2], found[3], found[4]
  local there = redis.call('LLEN', SG .. 'j:' .. id)
  sg_push(id, a, i + 11 + there - tonumber(a[i + 2]), i + 10 + count)
  redis.call('ZREM', sg_kind('run:', name, version), number .. ':' .. id)
  redis.call('HSET', m, 's', a[i + 3], 'u', exact(now()), 'r', release)
  redis.call('HDEL', m, 'l', 'z', 'e', 'o', 'q', 'y')
  if a[i + 8] ~= '0' then
    redis.call('HSET', m, 'o', sg_text(a[i + 8]))
  end
  if a[i + 9] ~= '0' then
    redis.call('HSET', m, 'q', sg_text(a[i + 9]))
  end
  if a[i + 6] == '1' then
    redis.call('ZADD', SG .. 'ended', exact(now()), id)
  end
  if a[i + 5] == '1' then
    if found[6] then
      wake('sge:' .. id)
    end
  else
    local due = a[i + 7] ~= '' and exact(tonumber(a[i + 7]))
    if found[5] then
      due = exact(now())
    end
    for k = 1, tonumber(a[i + 10]) do
      local at = i + 9 + count + 2 * k
      redis.call('SADD', SG .. 'w:' .. a[at], id)
      redis.call('SADD', SG .. 't:' .. id, a[at])
      if #redis.call('ZRANGEBYSCORE', SG .. 'gp:' .. a[at], '(' .. a[at + 1], '+inf', 'LIMIT', 0, 1) > 0 then
        due = exact(now())
      end
    end
    if due then
      sg_make_due(id, name, version, number, due)
    end
  end
  if sg_queued(name) then
    -- There is room for another one.
    wake('sg')
  end
  return 1
end

-- a[i]: id, token, 0, version, data, state, number of entries, entries
local function check_rewrite_saga(a, i)
  local refused = sg_refuse(a, i)
  if refused then
    return refused
  end
  local name = redis.call('HGET', SG .. 'm:' .. a[i], 'n')
  if name then
    sg_check(name, a[i + 3])
  end
  sg_seen[a[i]].entries = tonumber(a[i + 6])
end
local function apply_rewrite_saga(a, i)
  local id, m = a[i], SG .. 'm:' .. a[i]
  local found = redis.call('HMGET', m, 'n', 'v', 'k', 'e')
  redis.call('DEL', SG .. 'j:' .. id)
  sg_push(id, a, i + 7, i + 6 + tonumber(a[i + 6]))
  if found[2] ~= a[i + 3] then
    redis.call('ZREM', sg_kind('run:', found[1], found[2]), found[3] .. ':' .. id)
    redis.call('ZADD', sg_kind('run:', found[1], a[i + 3]), found[4], found[3] .. ':' .. id)
    redis.call('SADD', SG .. 'vs:' .. found[1], a[i + 3])
  end
  redis.call('HSET', m, 'v', a[i + 3], 'b', a[i + 4], 's', a[i + 5], 'u', exact(now()))
  redis.call('HDEL', m, 'x', 'o', 'q')
  return 1
end

-- a[i]: number of sagas, lease, then id and token of each. Answers for each 0 where it is renewed, 1 where it is lost, 2 where it is renewed
-- and its cancellation was requested.
local function apply_renew_sagas(a, i)
  local ends, answer = exact(now() + tonumber(a[i + 1])), {}
  for k = 1, tonumber(a[i]) do
    local id = a[i + 2 * k]
    local found = redis.call('HMGET', SG .. 'm:' .. id, 't', 'l', 'n', 'v', 'k', 'x')
    if found[1] == a[i + 2 * k + 1] and found[2] then
      redis.call('ZADD', sg_kind('run:', found[3], found[4]), ends, found[5] .. ':' .. id)
      redis.call('HSET', SG .. 'm:' .. id, 'e', ends)
      answer[k] = found[6] and 2 or 0
    else
      answer[k] = 1
    end
  end
  return answer
end

-- Claims a saga, which waits for nothing then; answers its token, itself and its journal.
local function sg_claim(id, lease, operation)
  local topics = redis.call('SMEMBERS', SG .. 't:' .. id)
  local m, ends, token = SG .. 'm:' .. id, exact(now() + tonumber(lease)), string.format('%.0f', next_token())
  local found = redis.call('HMGET', m, 'n', 'v', 'k')
  local member = found[3] .. ':' .. id
  redis.call('HSET', m, 'l', '1', 't', token, 'e', ends, 'z', operation)
  redis.call('ZREM', sg_kind('due:', found[1], found[2]), member)
  redis.call('ZADD', sg_kind('run:', found[1], found[2]), ends, member)
  for _, topic in ipairs(topics) do
    redis.call('SREM', SG .. 'w:' .. topic, id)
  end
  redis.call('DEL', SG .. 't:' .. id)
  redis.call('ZREM', SG .. 'ended', id)
  return { token, sg_read(id), redis.call('LRANGE', SG .. 'j:' .. id, 0, -1) }
end

-- a[i]: lease, limit, operation, number of kinds, then name, version and most ('' for no limit) of each
local function check_take_sagas(a, i)
  for at = i + 4, i + 1 + 3 * tonumber(a[i + 3]), 3 do
    sg_check(a[at], a[at + 1])
  end
  return check_counter('fence')
end
local function apply_take_sagas(a, i)
  local found, room, taken = {}, {}, {}
  for at = i + 4, i + 1 + 3 * tonumber(a[i + 3]), 3 do
    if a[at + 2] ~= '' then
      room[a[at]] = sg_room(a[at], a[at + 2])
    end
    for _, set in ipairs({ 'due:', 'run:' }) do
      local due = redis.call('ZRANGEBYSCORE', sg_kind(set, a[at], a[at + 1]), '-inf', exact(now()), 'WITHSCORES', 'LIMIT', 0, a[i + 1])
      for k = 1, #due, 2 do
        found[#found + 1] = { tonumber(due[k + 1]), due[k], a[at] }
      end
    end
  end
  table.sort(found, function(one, other)
    if one[1] ~= other[1] then
      return one[1] < other[1]
    end
    return one[2] < other[2]
  end)
  for _, each in ipairs(found) do
    local left = room[each[3]]
    if #taken == tonumber(a[i + 1]) then
      break
    end
    if not left or left > 0 then
      room[each[3]] = left and left - 1
      taken[#taken + 1] = sg_claim(string.sub(each[2], 18), a[i], a[i + 2])
    end
  end
  return taken
end

-- a[i]: id, lease, operation
local function check_claim_saga(a, i)
  sg_look(a[i])
  return check_counter('fence')
end
local function apply_claim_saga(a, i)
  local found = redis.call('HMGET', SG .. 'm:' .. a[i], 't', 'l', 'e', 'z')
  if not found[1] then
    return false
  end
  if found[2] and tonumber(found[3]) > now() then
    -- The same claim asks again, because its answer was lost.
    return found[4] == a[i + 2] and { found[1], sg_read(a[i]), redis.call('LRANGE', SG .. 'j:' .. a[i], 0, -1) }
  end
  return sg_claim(a[i], a[i + 1], a[i + 2])
end
