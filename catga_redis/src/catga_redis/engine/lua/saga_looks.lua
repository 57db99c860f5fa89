-- What is asked about sagas, their cancellation, the signals that they wait for, and their pruning; sagas.lua tells of the keys.

-- a[i]: id
local function apply_get_saga(a, i)
  return sg_read(a[i])
end

-- a[i]: id
local function apply_read_saga(a, i)
  local found = sg_read(a[i])
  return found and { found, redis.call('LRANGE', SG .. 'j:' .. a[i], 0, -1) }
end

-- a[i]: id. As get, and the end of the saga is told from now on.
local function apply_await_saga(a, i)
  local found = sg_read(a[i])
  if found and not (found[5] and sg_final[found[5]]) and not found[12] then
    redis.call('HSETNX', SG .. 'm:' .. a[i], 'y', '1')
  end
  return found
end

-- a[i]: id after which to begin ('' for the first), how many to look at, how many to find, then state, name, parked, updated before and parent
-- ('0' for any, else '1' and the text). Answers the last id that was looked at, whether there may be more, and those found.
local function apply_find_sagas(a, i)
  local from = a[i] == '' and '-' or '(' .. a[i]
  local page, found, last = redis.call('ZRANGEBYLEX', SG .. 'ids', from, '+', 'LIMIT', 0, a[i + 1]), {}, a[i]
  local seen = 0
  for _, id in ipairs(page) do
    last, seen = id, seen + 1
    local fields = redis.call('HMGET', SG .. 'm:' .. id, 's', 'n', 'q', 'u', 'p', 'c')
    if (a[i + 3] == '0' or a[i + 3] == '1' .. (fields[1] or 'running'))
      and (a[i + 4] == '0' or a[i + 4] == '1' .. fields[2])
      and (a[i + 5] == '0' or a[i + 5] == '1' .. (fields[3] and '1' or '0'))
      and (a[i + 6] == '0' or tonumber(fields[4] or fields[6]) < tonumber(sg_text(a[i + 6])))
      and (a[i + 7] == '0' or (fields[5] and a[i + 7] == '1' .. fields[5])) then
      found[#found + 1] = sg_read(id)
      if #found == tonumber(a[i + 2]) then
        break
      end
    end
  end
  return { last, (seen < #page or #page == tonumber(a[i + 1])) and 1 or 0, found }
end

-- Has a saga due at once, unless it is leased or parked, or is due already.
local function sg_hasten(id)
  local found = redis.call('HMGET', SG .. 'm:' .. id, 'l', 'q', 'e', 'n', 'v', 'k', 't')
  if (not found[1] or found[1] == '') and not found[2] and not (found[3] and tonumber(found[3]) <= now()) then
    sg_make_due(id, found[4], found[5], found[6] or sg_number(found[7]), sg_now())
    wake('sg')
  end
end

-- a[i]: id
local function check_cancel_saga(a, i)
  local row = sg_look(sg_alone(i) and sg_rows or sg_seen, a[i])
  if row.name then
    sg_check(row.name, row.version)
  end
end
local function apply_cancel_saga(a, i)
  local id, row = a[i], sg_look(sg_rows, a[i])
  if row.token and not sg_final[row.state] and not row.cancelling then
    row.cancelling = '1'
    redis.call('HSET', SG .. 'm:' .. id, 'x', '1')
    sg_hasten(id)
  end
  return sg_read(id)
end

-- a[i]: topic, message id, data, operation. Answers whether it was added.
local function check_add_signal(a, i)
  redis.call('HLEN', SG .. 'gi:' .. a[i])
  redis.call('ZCARD', SG .. 'gp:' .. a[i])
  redis.call('ZCARD', SG .. 'gt')
  for _, id in ipairs(redis.call('SMEMBERS', SG .. 'w:' .. a[i])) do
    local row = sg_look(sg_alone(i) and sg_rows or sg_seen, id)
    sg_check(row.name, row.version)
  end
  return check_counter('sg:pos')
end
local function apply_add_signal(a, i)
  local topic, known = a[i], redis.call('HGET', SG .. 'gi:' .. a[i], a[i + 1])
  if known then
    -- The same call asks again, because its answer was lost.
    return redis.call('HGET', SG .. 'g:' .. known, 'o') == a[i + 3] and 1 or 0
  end
  local place = string.format('%016.0f', redis.call('INCR', SG .. 'pos'))
  redis.call('HSET', SG .. 'g:' .. place, 't', topic, 'i', a[i + 1], 'd', a[i + 2], 'o', a[i + 3])
  redis.call('HSET', SG .. 'gi:' .. topic, a[i + 1], place)
  redis.call('ZADD', SG .. 'gp:' .. topic, place, place)
  redis.call('ZADD', SG .. 'gt', sg_now(), place)
  for _, id in ipairs(redis.call('SMEMBERS', SG .. 'w:' .. topic)) do
    sg_hasten(id)
  end
  return 1
end

-- a[i]: topic, position after which to begin, limit
local function apply_list_signals(a, i)
  local answer = {}
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', SG .. 'gp:' .. a[i], '(' .. a[i + 1], '+inf', 'LIMIT', 0, a[i + 2])) do
    local found = redis.call('HMGET', SG .. 'g:' .. place, 'i', 'd')
    answer[#answer + 1] = { place, found[1], found[2] }
  end
  return answer
end

-- a[i]: number of kinds, then name, version and most ('' for no limit) of each. Seconds until a saga may be taken, nothing when no time is known.
local function apply_sagas_due_in(a, i)
  local soonest = math.huge
  local function later(key)
    local first = redis.call('ZRANGEBYSCORE', key, '(' .. sg_now(), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    soonest = math.min(soonest, tonumber(first or math.huge))
  end
  for at = i + 1, i - 2 + 3 * tonumber(a[i]), 3 do
    local name, due = a[at], sg_due(a[at], a[at + 1])
    -- A lease that is over may be of another version: take finds out.
    if sg_is_due(SG .. 'run:' .. name) or (sg_is_due(due) and (a[at + 2] == '' or sg_room(name, a[at + 2]) > 0)) then
      return '0'
    end
    later(due)
    later(SG .. 'run:' .. name)
  end
  return soonest < math.huge and exact(soonest - now())
end

-- a[i]: older than (seconds), how many to remove, how many to look at, how many to skip. Answers how many were removed, and how many are to be
-- skipped next, nothing after the last.
local function apply_prune_sagas(a, i)
  local before, removed, kept = '(' .. exact(now() - tonumber(a[i])), 0, tonumber(a[i + 3])
  local old = redis.call('ZRANGEBYSCORE', SG .. 'ended', '-inf', before, 'LIMIT', a[i + 3], a[i + 2])
  for _, id in ipairs(old) do
    if removed == tonumber(a[i + 1]) then
      break
    end
    local name = redis.call('HGET', SG .. 'm:' .. id, 'p')
    local parent = name and redis.call('HMGET', SG .. 'm:' .. name, 't', 's') or {}
    if parent[1] and (not (parent[2] and sg_final[parent[2]]) or parent[2] == 'compensation_failed') then
      kept = kept + 1
    else
      redis.call('DEL', SG .. 'm:' .. id, SG .. 'j:' .. id)
      redis.call('ZREM', SG .. 'ids', id)
      redis.call('ZREM', SG .. 'ended', id)
      removed = removed + 1
    end
  end
  return { removed, #old == tonumber(a[i + 2]) and kept }
end

-- a[i]: older than (seconds), limit
local function apply_prune_signals(a, i)
  local old = redis.call('ZRANGEBYSCORE', SG .. 'gt', '-inf', '(' .. exact(now() - tonumber(a[i])), 'LIMIT', 0, a[i + 1])
  for _, place in ipairs(old) do
    local found = redis.call('HMGET', SG .. 'g:' .. place, 't', 'i')
    if found[1] then
      redis.call('HDEL', SG .. 'gi:' .. found[1], found[2])
      redis.call('ZREM', SG .. 'gp:' .. found[1], place)
    end
    redis.call('DEL', SG .. 'g:' .. place)
    redis.call('ZREM', SG .. 'gt', place)
  end
  return #old
end
