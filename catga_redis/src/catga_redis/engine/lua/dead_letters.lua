-- {p}:dl-seq     the last place
-- {p}:dl         sorted set of letter ids by the place at which they first came
-- {p}:dl:m:<id>    hash: d letter; a attempts, f first failure, r replays, o the last operation; s h n c l q k m what is filtered by
local function letter_fields(key)
  return redis.call('HMGET', key, 'd', 'a', 'f', 'r')
end

-- a[i]: id, operation, attempts, first failure, last failure, replays, source, handler, name, code, queue, key ('0' for none, else '1' and the key), letter, message id
local function check_add_letter(a, i)
  redis.call('HLEN', P .. 'dl:m:' .. a[i])
  redis.call('ZCARD', P .. 'dl')
  return check_counter('dl-seq')
end
local function apply_add_letter(a, i)
  local key = P .. 'dl:m:' .. a[i]
  local found = redis.call('HMGET', key, 'o', 'a', 'f', 'r')
  if found[1] == a[i + 1] then
    return 1
  end
  local attempts, first, replays = tonumber(a[i + 2]), a[i + 3], a[i + 5]
  if found[2] then
    attempts, first, replays = attempts + tonumber(found[2]), found[3], found[4]
  end
  if not found[2] then
    redis.call('ZADD', P .. 'dl', redis.call('INCR', P .. 'dl-seq'), a[i])
  end
  -- Last: where a command was refused before, a repetition must not find the letter there.
  redis.call('HSET', key, 'd', a[i + 12], 'o', a[i + 1], 'a', attempts, 'f', first, 'r', replays,
    'l', a[i + 4], 's', a[i + 6], 'h', a[i + 7], 'n', a[i + 8], 'c', a[i + 9], 'q', a[i + 10], 'k', a[i + 11], 'm', a[i + 13])
  return 1
end

-- a[i]: id
local function apply_get_letter(a, i)
  return letter_fields(P .. 'dl:m:' .. a[i])
end

-- a[i]: id, operation
local function apply_replaying(a, i)
  local key = P .. 'dl:m:' .. a[i]
  if redis.call('EXISTS', key) == 0 then
    return false
  end
  if redis.call('HGET', key, 'o') ~= a[i + 1] then
    redis.call('HINCRBY', key, 'r', 1)
    redis.call('HSET', key, 'o', a[i + 1])
  end
  return letter_fields(key)
end

-- a[i]: id
local function check_remove_letter()
  redis.call('ZCARD', P .. 'dl')
end
local function apply_remove_letter(a, i)
  redis.call('DEL', P .. 'dl:m:' .. a[i])
  return redis.call('ZREM', P .. 'dl', a[i])
end

-- a[i]: place before the first, how many to look at, how many to find, what to do; then source, handler, name, code, queue, key ('0' for
-- any, else '1' and the value), failed after, failed before ('' for any), message id (as source)
local function apply_find_letters(a, i)
  local found, last, seen = {}, a[i], 0
  local want, act = tonumber(a[i + 2]), a[i + 3]
  local page = redis.call('ZRANGEBYSCORE', P .. 'dl', '(' .. a[i], '+inf', 'WITHSCORES', 'LIMIT', 0, a[i + 1])
  local function fits(value, wanted)
    return wanted == '0' or value == string.sub(wanted, 2)
  end
  for n = 1, #page, 2 do
    local key = P .. 'dl:m:' .. page[n]
    local f = redis.call('HMGET', key, 's', 'h', 'n', 'c', 'l', 'q', 'k', 'm')
    last, seen = page[n + 1], seen + 1
    if f[5] and fits(f[1], a[i + 4]) and fits(f[2], a[i + 5]) and fits(f[3], a[i + 6]) and fits(f[4], a[i + 7])
      and fits(f[6] or '', a[i + 8]) and (a[i + 9] == '0' or f[7] == a[i + 9]) and fits(f[8], a[i + 12])
      and (a[i + 10] == '' or tonumber(f[5]) > tonumber(a[i + 10]))
      and (a[i + 11] == '' or tonumber(f[5]) < tonumber(a[i + 11])) then
      if act == 'read' then
        found[#found + 1] = { last, letter_fields(key) }
      else
        if act == 'purge' then
          redis.call('DEL', key)
          redis.call('ZREM', P .. 'dl', page[n])
        end
        found[#found + 1] = last
      end
      if #found == want then
        break
      end
    end
  end
  local more = seen * 2 < #page or seen == tonumber(a[i + 1])
  return { last, more and 1 or 0, act == 'read' and found or #found }
end
