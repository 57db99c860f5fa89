-- Sagas: what the process that runs one writes. <n> is the number of a saga, 16 digits, so that equal times are in the order of the begins.
-- {p}:sg:m:<id>       hash: i what never changes, n name, v version, b data, p parent, s state (running where there is none), c created at, u updated
--                     at where it is later, j number of entries; l end of the lease, '' while it is not leased, and e when it is due then; t fencing
--                     token, k number where it is another, z operation that claimed it, r token that released it last; x '1' when its cancellation
--                     was requested, o outcome, q problem, d '1' where one of both is to be forgotten, y '1' while its end is awaited
-- {p}:sg:j:<id>       list: the journal
-- {p}:sg:ids          sorted set of the ids, all with score 0
-- {p}:sg:run:<name>   sorted set of "<n>:<id>" by the end of the lease: those that are leased
-- {p}:sg:due:<version>:<name>  the same by the time at which they are due: those that are not leased, and those whose lease was found to be over
-- {p}:sg:vs:<name>    set of the versions of a name that have been due
-- {p}:sg:limits       set of the names of which sagas wait for their turn
-- {p}:sg:w:<topic>    set of the ids that wait for a topic; {p}:sg:t:<id> set of the topics of one
-- {p}:sg:ended        sorted set of the ids that are pruned after a time, by when they ended
-- {p}:sg:pos          the last position of a signal, 16 digits as <pos>
-- {p}:sg:g:<pos>      hash of a signal: t topic, i message id, d data, o operation that added it
-- {p}:sg:gi:<topic>   hash of message id -> <pos>; {p}:sg:gp:<topic> sorted set of <pos> by itself; {p}:sg:gt sorted set of <pos> by time
local SG = P .. 'sg:'
local sg_final = { completed = true, compensated = true, compensation_failed = true, cancelled = true }

local sg_at
local function sg_now()
  sg_at = sg_at or exact(now())
  return sg_at
end

local function sg_due(name, version)
  return SG .. 'due:' .. version .. ':' .. name
end

local function sg_text(given)
  return string.sub(given, 1, 1) == '1' and string.sub(given, 2)
end

local function sg_number(token)
  return string.format('%016.0f', tonumber(token))
end

-- Refuses keys that another program has made something else, before anything is written.
local function sg_check(name, version)
  redis.call('ZCARD', sg_due(name, version))
  redis.call('ZCARD', SG .. 'run:' .. name)
  redis.call('SCARD', SG .. 'vs:' .. name)
  redis.call('SCARD', SG .. 'limits')
end

local function sg_read(id)
  local found = redis.call('HMGET', SG .. 'm:' .. id, 'i', 'n', 'v', 'b', 's', 'c', 'u', 'e', 'l', 'x', 'o', 'q', 'j')
  found[14] = id
  return found[1] and found
end

-- How many more sagas of a name may be leased.
local function sg_room(name, most)
  return tonumber(most) - redis.call('ZCOUNT', SG .. 'run:' .. name, '(' .. sg_now(), '+inf')
end

local function sg_is_due(set)
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  return first and tonumber(first) <= now()
end

-- Whether a saga of a name waits for its turn, or was left by a process that is dead.
local function sg_queued(name)
  for _, version in ipairs(redis.call('SMEMBERS', SG .. 'vs:' .. name)) do
    if sg_is_due(sg_due(name, version)) then
      return true
    end
  end
  return sg_is_due(SG .. 'run:' .. name)
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
  local due, member = sg_due(name, version), number .. ':' .. id
  redis.call('ZADD', due, at, member)
  redis.call('SADD', SG .. 'vs:' .. name, version)
  redis.call('HSET', SG .. 'm:' .. id, 'e', at)
  if redis.call('ZRANGE', due, 0, 0)[1] == member then
    wake('sg')
  end
end

-- What is known of sagas while operations are applied; and what earlier operations of the same unit of work will have made of them, while all
-- are checked before one is applied. An operation of its own needs the first only.
local sg_rows, sg_seen, sg_begun = {}, {}, {}

-- Whether an operation is none of a unit of work: it is the script's only one, at 2, or one of several callers'.
local sg_several = false
local function sg_alone(i)
  return sg_several or i == 2
end

local function sg_look(rows, id)
  local row = rows[id]
  if not row then
    local found = redis.call('HMGET', SG .. 'm:' .. id, 't', 'l', 's', 'j', 'r', 'n', 'v', 'k', 'x', 'y', 'd')
    row = { token = found[1], leased = found[2] ~= '' and found[2], state = found[3] or 'running', entries = tonumber(found[4] or 0),
      released = found[5], name = found[6], version = found[7], number = found[8], cancelling = found[9], awaited = found[10],
      ended = found[11] }
    rows[id] = row
  end
  return row
end

-- The same of a saga that is only appended to.
local function sg_look_short(id)
  local found = redis.call('HMGET', SG .. 'm:' .. id, 't', 'l', 's', 'j')
  local row = { token = found[1], leased = found[2] ~= '' and found[2], state = found[3] or 'running', entries = tonumber(found[4] or 0) }
  sg_rows[id] = row
  return row
end

local function sg_member(row, id)
  return (row.number or sg_number(row.token)) .. ':' .. id
end

-- a[i]: id, token, entries before. Refuses a claim that was lost, and a gap.
local function sg_refuse(row, a, i)
  if not row.leased or row.token ~= a[i + 1] then
    return { 'saga', a[i] }
  end
  if row.entries < tonumber(a[i + 2]) then
    return { 'gap', a[i], tonumber(a[i + 2]), row.entries }
  end
end

-- a[i]: id, name, version, what never changes, data, parent ('0' for none, else '1' and the id), lease, most ('' for no limit), operation,
-- token ('' for a new one), and where a unit of work has promised it '1' for a claim, '0' for none
local function check_begin_saga(a, i)
  local id, name, promised = a[i], a[i + 1], not sg_alone(i) and a[i + 10]
  redis.call('ZCARD', SG .. 'ids')
  redis.call('ZCARD', SG .. 'run:' .. name)
  if a[i + 7] ~= '' then
    sg_check(name, a[i + 2])
  end
  if promised then
    if sg_look(sg_seen, id).token then
      return { 'begun', id }
    end
    if promised == '1' and a[i + 7] ~= '' and (sg_queued(name) or sg_room(name, a[i + 7]) <= (sg_begun[name] or 0)) then
      return { 'turn', name }
    end
    sg_begun[name] = (sg_begun[name] or 0) + tonumber(promised)
    sg_seen[id] = { token = a[i + 9], leased = promised == '1' and '0', entries = 0 }
  end
end
local function apply_begin_saga(a, i)
  local id, name, version, leased = a[i], a[i + 1], a[i + 2], not sg_alone(i) and a[i + 10]
  local m, at = SG .. 'm:' .. id, sg_now()
  local known = redis.call('HMGET', m, 't', 'c', 'l', 'z')
  if known[1] then
    -- The same begin asks again, because its answer was lost.
    return known[4] == a[i + 8] and known[1] .. ':' .. known[2] .. ':' .. (known[3] and known[3] ~= '' and '1' or '0') or sg_read(id)
  end
  leased = leased or (a[i + 7] == '' or (not sg_queued(name) and sg_room(name, a[i + 7]) > 0)) and '1' or '0'
  local token = a[i + 9] ~= '' and a[i + 9] or string.format('%.0f', next_token())
  local number, ends = sg_number(token), leased == '1' and exact(now() + tonumber(a[i + 6]))
  if ends then
    redis.call('HSET', m, 'i', a[i + 3], 'n', name, 'v', version, 'b', a[i + 4], 'c', at, 't', token, 'z', a[i + 8], 'l', ends)
    redis.call('ZADD', SG .. 'run:' .. name, ends, number .. ':' .. id)
  else
    redis.call('HSET', m, 'i', a[i + 3], 'n', name, 'v', version, 'b', a[i + 4], 'c', at, 't', token, 'z', a[i + 8])
    redis.call('SADD', SG .. 'limits', name)
    sg_make_due(id, name, version, number, at)
  end
  redis.call('ZADD', SG .. 'ids', 0, id)
  local parent = sg_text(a[i + 5])
  if parent then
    redis.call('HSET', m, 'p', parent)
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
  return string.format('%.0f:%s:%s', next_token(), sg_now(), free and '1' or '0')
end

-- a[i]: id, token, entries before, state ('' for the same), number of entries, entries. The journal is written first: where another program
-- has made it something else, nothing is written.
local function check_append_saga(a, i)
  local alone = sg_alone(i)
  local row = alone and sg_look_short(a[i]) or sg_look(sg_seen, a[i])
  local refused = sg_refuse(row, a, i)
  if refused then
    return refused
  end
  if not alone then
    redis.call('LLEN', SG .. 'j:' .. a[i])
    row.entries = math.max(row.entries, tonumber(a[i + 2]) + tonumber(a[i + 4]))
  end
end
local function apply_append_saga(a, i)
  local row, m, state = sg_look(sg_rows, a[i]), SG .. 'm:' .. a[i], a[i + 3]
  local count = tonumber(a[i + 2]) + tonumber(a[i + 4])
  if row.entries < count then
    sg_push(a[i], a, i + 5 + row.entries - tonumber(a[i + 2]), i + 4 + tonumber(a[i + 4]))
    row.entries = count
  elseif state == '' or row.state == state then
    -- The same again, because its answer was lost.
    return 1
  end
  if state == '' then
    redis.call('HSET', m, 'u', sg_now(), 'j', row.entries)
  else
    row.state = state
    redis.call('HSET', m, 'u', sg_now(), 'j', row.entries, 's', state)
  end
  return 1
end

-- a[i]: id, token, entries before, state, number of entries, whether it ends ('1' final or parked), whether it is pruned after a time, when it is
-- due ('' for no time), outcome and problem ('0' for none, else '1' and the bytes), number of topics, entries, then topic and position of each
-- The same again, because its answer was lost: as long as no other claim followed, it is known by what it has made of the saga.
local function sg_released(row, a, i)
  return row.released == a[i + 1]
    and (row.token ~= a[i + 1] or (row.state == a[i + 3] and row.entries == tonumber(a[i + 2]) + tonumber(a[i + 4])))
end
local function check_release_saga(a, i)
  local alone = sg_alone(i)
  local row = sg_look(alone and sg_rows or sg_seen, a[i])
  if sg_released(row, a, i) then
    return
  end
  local refused = sg_refuse(row, a, i)
  if refused then
    return refused
  end
  if row.name then
    redis.call('ZCARD', SG .. 'run:' .. row.name)
    row.limited = redis.call('SISMEMBER', SG .. 'limits', row.name) == 1
    if a[i + 5] == '0' or row.limited then
      sg_check(row.name, row.version)
    end
  end
  if a[i + 6] == '1' then
    redis.call('ZCARD', SG .. 'ended')
  end
  local topics = tonumber(a[i + 10])
  for k = 1, topics do
    local topic = a[i + 9 + tonumber(a[i + 4]) + 2 * k]
    redis.call('ZCARD', SG .. 'gp:' .. topic)
    redis.call('SCARD', SG .. 'w:' .. topic)
  end
  if topics > 0 then
    redis.call('SCARD', SG .. 't:' .. a[i])
  end
  if not alone then
    redis.call('LLEN', SG .. 'j:' .. a[i])
    row.leased, row.released, row.state = false, a[i + 1], a[i + 3]
    row.entries = math.max(row.entries, tonumber(a[i + 2]) + tonumber(a[i + 4]))
  end
end
local function apply_release_saga(a, i)
  local id, m, row = a[i], SG .. 'm:' .. a[i], sg_look(sg_rows, a[i])
  if sg_released(row, a, i) then
    return 1
  end
  local name, member, last = row.name, sg_member(row, id), i + 10 + tonumber(a[i + 4])
  local count = math.max(row.entries, tonumber(a[i + 2]) + tonumber(a[i + 4]))
  sg_push(id, a, i + 11 + row.entries - tonumber(a[i + 2]), last)
  if redis.call('ZREM', SG .. 'run:' .. name, member) == 0 then
    redis.call('ZREM', sg_due(name, row.version), member)
  end
  if row.ended then
    redis.call('HDEL', m, 'o', 'q', 'd')
  end
  row.leased, row.released, row.entries, row.state = false, a[i + 1], count, a[i + 3]
  if a[i + 8] == '0' then
    redis.call('HSET', m, 's', a[i + 3], 'u', sg_now(), 'r', a[i + 1], 'j', count, 'l', '')
  else
    redis.call('HSET', m, 's', a[i + 3], 'u', sg_now(), 'r', a[i + 1], 'j', count, 'l', '', 'o', sg_text(a[i + 8]))
  end
  if a[i + 9] ~= '0' then
    redis.call('HSET', m, 'q', sg_text(a[i + 9]))
  end
  if a[i + 6] == '1' then
    redis.call('ZADD', SG .. 'ended', sg_now(), id)
  end
  if a[i + 5] == '1' then
    if row.awaited then
      redis.call('HDEL', m, 'y')
      wake('sge:' .. id)
    end
  else
    local due = row.cancelling and sg_now() or a[i + 7] ~= '' and exact(tonumber(a[i + 7]))
    for at = last + 1, last - 1 + 2 * tonumber(a[i + 10]), 2 do
      redis.call('SADD', SG .. 'w:' .. a[at], id)
      redis.call('SADD', SG .. 't:' .. id, a[at])
      if #redis.call('ZRANGEBYSCORE', SG .. 'gp:' .. a[at], '(' .. a[at + 1], '+inf', 'LIMIT', 0, 1) > 0 then
        due = sg_now()
      end
    end
    if due then
      sg_make_due(id, name, row.version, sg_number(string.sub(member, 1, 16)), due)
    end
  end
  if row.limited or (not sg_alone(i) and redis.call('SISMEMBER', SG .. 'limits', name) == 1) then
    -- There is room for another one.
    if sg_queued(name) then
      wake('sg')
    else
      redis.call('SREM', SG .. 'limits', name)
    end
  end
  return 1
end

-- a[i]: id, token, 0, version, data, state, number of entries, entries
local function check_rewrite_saga(a, i)
  local row = sg_look(sg_alone(i) and sg_rows or sg_seen, a[i])
  local refused = sg_refuse(row, a, i)
  if refused then
    return refused
  end
  redis.call('LLEN', SG .. 'j:' .. a[i])
  if row.name then
    sg_check(row.name, row.version)
  end
  if not sg_alone(i) then
    row.entries = tonumber(a[i + 6])
  end
end
local function apply_rewrite_saga(a, i)
  local id, m, row = a[i], SG .. 'm:' .. a[i], sg_look(sg_rows, a[i])
  redis.call('DEL', SG .. 'j:' .. id)
  sg_push(id, a, i + 7, i + 6 + tonumber(a[i + 6]))
  -- Where its lease was found to be over, it is due as of its former version.
  if redis.call('ZREM', sg_due(row.name, row.version), sg_member(row, id)) == 1 then
    redis.call('ZADD', SG .. 'run:' .. row.name, row.leased, sg_member(row, id))
  end
  row.version, row.entries, row.state, row.cancelling = a[i + 3], tonumber(a[i + 6]), a[i + 5], false
  redis.call('HSET', m, 'v', a[i + 3], 'b', a[i + 4], 's', a[i + 5], 'u', sg_now(), 'j', a[i + 6])
  redis.call('HDEL', m, 'x', 'o', 'q', 'd')
  row.ended = false
  return 1
end

-- a[i]: number of sagas, lease, then id and token of each. Answers for each 0 where it is renewed, 1 where it is lost, 2 where it is renewed
-- and its cancellation was requested.
local function apply_renew_sagas(a, i)
  local ends, answer = exact(now() + tonumber(a[i + 1])), {}
  for k = 1, tonumber(a[i]) do
    local id = a[i + 2 * k]
    local row = sg_look(sg_rows, id)
    if row.leased and row.token == a[i + 2 * k + 1] then
      local member = sg_member(row, id)
      if tonumber(row.leased) <= now() then
        redis.call('ZREM', sg_due(row.name, row.version), member)
      end
      redis.call('ZADD', SG .. 'run:' .. row.name, ends, member)
      redis.call('HSET', SG .. 'm:' .. id, 'l', ends)
      answer[k] = row.cancelling and 2 or 0
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
  local row = sg_look(sg_rows, id)
  local member = sg_member(row, id)
  -- One that was not released may have been left in a step.
  local former = redis.call('HGET', m, 'l')
  local taken_over = (former and former ~= '') and 1 or 0
  redis.call('HDEL', m, 'e')
  if redis.call('HEXISTS', m, 'o') == 1 or redis.call('HEXISTS', m, 'q') == 1 then
    redis.call('HSET', m, 'd', '1')
  end
  redis.call('HSET', m, 'l', ends, 't', token, 'k', string.sub(member, 1, 16), 'z', operation)
  redis.call('ZREM', sg_due(row.name, row.version), member)
  redis.call('ZADD', SG .. 'run:' .. row.name, ends, member)
  for _, topic in ipairs(topics) do
    redis.call('SREM', SG .. 'w:' .. topic, id)
  end
  redis.call('DEL', SG .. 't:' .. id)
  redis.call('ZREM', SG .. 'ended', id)
  return { token, sg_read(id), redis.call('LRANGE', SG .. 'j:' .. id, 0, -1), taken_over }
end

-- Those whose lease is over are due: a process that cannot run them does not look at them again.
local function sg_expire(name)
  local run = SG .. 'run:' .. name
  local over = redis.call('ZRANGEBYSCORE', run, '-inf', sg_now(), 'WITHSCORES', 'LIMIT', 0, 1000)
  for k = 1, #over, 2 do
    local version = redis.call('HGET', SG .. 'm:' .. string.sub(over[k], 18), 'v')
    redis.call('ZADD', sg_due(name, version), over[k + 1], over[k])
    redis.call('SADD', SG .. 'vs:' .. name, version)
    redis.call('ZREM', run, over[k])
  end
end

-- a[i]: lease, limit, operation, number of kinds, then name, version and most ('' for no limit) of each
local function check_take_sagas(a, i)
  for at = i + 4, i + 1 + 3 * tonumber(a[i + 3]), 3 do
    sg_check(a[at], a[at + 1])
  end
  redis.call('ZCARD', SG .. 'ended')
  return check_counter('fence')
end
local function apply_take_sagas(a, i)
  local found, room, taken = {}, {}, {}
  for at = i + 4, i + 1 + 3 * tonumber(a[i + 3]), 3 do
    sg_expire(a[at])
    if a[at + 2] ~= '' then
      room[a[at]] = sg_room(a[at], a[at + 2])
    end
    local due = redis.call('ZRANGEBYSCORE', sg_due(a[at], a[at + 1]), '-inf', sg_now(), 'WITHSCORES', 'LIMIT', 0, a[i + 1])
    for k = 1, #due, 2 do
      found[#found + 1] = { tonumber(due[k + 1]), due[k], a[at] }
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
    if left and left <= 0 then
      redis.call('SADD', SG .. 'limits', each[3])
    else
      room[each[3]] = left and left - 1
      taken[#taken + 1] = sg_claim(string.sub(each[2], 18), a[i], a[i + 2])
    end
  end
  return taken
end

-- a[i]: id, lease, operation
local function check_claim_saga(a, i)
  local row = sg_look(sg_rows, a[i])
  if row.name then
    sg_check(row.name, row.version)
  end
  redis.call('ZCARD', SG .. 'ended')
  return check_counter('fence')
end
local function apply_claim_saga(a, i)
  local found = redis.call('HMGET', SG .. 'm:' .. a[i], 't', 'l', 'z')
  if not found[1] then
    return false
  end
  if found[2] and found[2] ~= '' and tonumber(found[2]) > now() then
    -- The same claim asks again, because its answer was lost.
    return found[3] == a[i + 2] and { found[1], sg_read(a[i]), redis.call('LRANGE', SG .. 'j:' .. a[i], 0, -1), 1 }
  end
  return sg_claim(a[i], a[i + 1], a[i + 2])
end

-- a[i]: number of operations, then name, number of arguments and these of each. Each is done or refused as if it was alone.
local sg_operations = {
  begin_saga = { check_begin_saga, apply_begin_saga },
  append_saga = { check_append_saga, apply_append_saga },
  release_saga = { check_release_saga, apply_release_saga },
}
local function sg_do(operation, a, i)
  return operation[1](a, i) or operation[2](a, i)
end
local function apply_sagas_together(a, i)
  local answers, at = {}, i + 1
  sg_several = true
  for n = 1, tonumber(a[i]) do
    sg_rows = {}
    local done, answer = pcall(sg_do, sg_operations[a[at]], a, at + 2)
    if not done then
      answer = redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
    end
    answers[n] = answer
    at = at + 2 + tonumber(a[at + 1])
  end
  return answers
end
