-- What is asked about queues, and their pruning; queue.lua tells of the keys.
local function q_read(queue, n)
  local found = redis.call('HMGET', Q .. 'm:' .. n, 'd', 'u', 'r', 's', 'l', 'a', 'e', 'z', 'x', 'k')
  local key = table.remove(found)
  found[#found + 1] = key and redis.call('SISMEMBER', Q .. 'held:' .. queue, key) or 0
  return { n, exact(now()), unpack(found) }
end

-- a[i]: queue, message id
local function apply_get_queued(a, i)
  local n = redis.call('HGET', Q .. 'ids:' .. a[i], a[i + 1])
  return n and q_read(a[i], n)
end

local function apply_queue_names()
  return redis.call('SMEMBERS', Q .. 'names')
end

-- a[i]: queue, which set, score and n after which to begin, how many to look at, how many to find, wire name, key ('0' for any, else '1'
-- and the text)
local function apply_find_queued(a, i)
  local set, found, seen = Q .. a[i + 1] .. ':' .. a[i], {}, 0
  local low = redis.call('ZCOUNT', set, '-inf', '(' .. a[i + 2])
  local high = redis.call('ZCOUNT', set, '-inf', a[i + 2])
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', set, middle, middle)[1] <= a[i + 3] then
      low = middle + 1
    else
      high = middle
    end
  end
  local page = redis.call('ZRANGE', set, low, low + tonumber(a[i + 4]) - 1, 'WITHSCORES')
  local last, last_n = a[i + 2], a[i + 3]
  for k = 1, #page, 2 do
    last_n, last, seen = page[k], page[k + 1], seen + 1
    local fields = redis.call('HMGET', Q .. 'm:' .. last_n, 'n', 'k')
    if (a[i + 6] == '0' or a[i + 6] == '1' .. (fields[1] or '')) and (a[i + 7] == '0' or (fields[2] and a[i + 7] == '1' .. fields[2])) then
      found[#found + 1] = { last, q_read(a[i], last_n) }
      if #found == tonumber(a[i + 5]) then
        break
      end
    end
  end
  return { last, last_n, seen * 2 < #page and 1 or (seen == tonumber(a[i + 4]) and 1 or 0), found }
end

local function apply_queue_stats()
  local answer = {}
  for _, queue in ipairs(redis.call('SMEMBERS', Q .. 'names')) do
    local after = '(' .. exact(now())
    local placed, scheduled = Q .. 'placed:' .. queue, Q .. 'scheduled:' .. queue
    local later = redis.call('ZCOUNT', scheduled, after, '+inf')
    local due = redis.call('ZCARD', scheduled) - later
    local first, oldest = redis.call('ZRANGE', placed, 0, 0)[1], false
    if first then
      oldest = redis.call('HGET', Q .. 'm:' .. first, 'r')
    elseif due > 0 then
      oldest = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2]
    end
    answer[#answer + 1] = {
      queue,
      redis.call('ZCARD', placed) + due,
      later,
      redis.call('ZCOUNT', Q .. 'leased:' .. queue, after, '+inf'),
      redis.call('ZCOUNT', Q .. 'retrying:' .. queue, after, '+inf'),
      redis.call('SCARD', Q .. 'held:' .. queue),
      oldest,
    }
  end
  return answer
end

-- a[i]: number of queues, queues. Seconds until something is due, nothing when nothing ever will be.
local function apply_queue_due_in(a, i)
  local soonest
  for at = i + 1, i + tonumber(a[i]) do
    if redis.call('EXISTS', Q .. 'ready:' .. a[at]) == 1 then
      return '0'
    end
    for _, set in ipairs({ 'leased:', 'retrying:', 'scheduled:' }) do
      local first = redis.call('ZRANGE', Q .. set .. a[at], 0, 0, 'WITHSCORES')[2]
      if first then
        soonest = math.min(soonest or math.huge, tonumber(first))
      end
    end
  end
  return soonest and exact(math.max(0, soonest - now())) or false
end

-- a[i]: older than (seconds), limit
local function apply_prune_queued(a, i)
  local old = redis.call('ZRANGEBYSCORE', Q .. 'done', '-inf', '(' .. exact(now() - tonumber(a[i])), 'LIMIT', 0, a[i + 1])
  for _, n in ipairs(old) do
    local found = redis.call('HMGET', Q .. 'm:' .. n, 'q', 'i')
    if found[1] then
      redis.call('HDEL', Q .. 'ids:' .. found[1], found[2])
    end
    redis.call('DEL', Q .. 'm:' .. n)
    redis.call('ZREM', Q .. 'done', n)
  end
  return #old
end
