-- {p}:s:<stream>  list of "<version>:<position>:<record>"
-- {p}:i:<stream>  hash of message id -> version
-- {p}:log         stream with entries <position>-0, of a stream's name and a version
-- {p}:pos         the last position
local lengths = {}
local function stored_position(stream, version)
  local found = redis.call('LINDEX', P .. 's:' .. stream, version - 1)
  return tonumber(string.match(found, '^%d+:(%d+):'))
end

-- Where the content of a record ends. A record is a MessagePack array that begins with message id, name, schema version, format and
-- data; what follows (the time, correlation, headers) is another one at each attempt.
local function content_end(record)
  local at = 2
  for _ = 1, 5 do
    local kind, b1, b2, b3, b4 = string.byte(record, at, at + 4)
    if kind >= 0xa0 and kind <= 0xbf then
      at = at + 1 + kind - 0xa0
    elseif kind == 0xd9 or kind == 0xc4 then
      at = at + 2 + b1
    elseif kind == 0xda or kind == 0xc5 then
      at = at + 3 + 256 * b1 + b2
    elseif kind == 0xdb or kind == 0xc6 then
      at = at + 5 + 16777216 * b1 + 65536 * b2 + 256 * b3 + b4
    elseif kind >= 0xcc and kind <= 0xcf then
      at = at + 1 + 2 ^ (kind - 0xcc)
    else
      at = at + 1
    end
  end
  return at - 1
end
local function is_stored(stream, version, record)
  local found = redis.call('LINDEX', P .. 's:' .. stream, version - 1)
  local stored = string.sub(found, string.find(found, ':', string.find(found, ':', 1, true) + 1, true) + 1)
  return string.sub(stored, 1, content_end(stored)) == string.sub(record, 1, content_end(record))
end

-- Whether the log takes the next position. It does not where another program has removed the last one.
local is_sound
local function check_log()
  if is_sound then
    return
  end
  local position = tonumber(redis.call('GET', P .. 'pos') or 0)
  if not position then
    return check_counter('pos')
  end
  local last = redis.call('XREVRANGE', P .. 'log', '+', '-', 'COUNT', 1)[1]
  if last and tonumber(string.match(last[1], '^%d+')) > position then
    return redis.error_reply('DAMAGED the log has events after the last position')
  end
  is_sound = true
end

-- a[i]: stream, expected version (-1: any), count, then id and record of each; none of them for a guard
local function check_append(a, i)
  local stream, expected, count = a[i], tonumber(a[i + 1]), tonumber(a[i + 2])
  local actual = redis.call('LLEN', P .. 's:' .. stream)
  lengths[stream] = actual
  if count == 0 then
    return expected ~= -1 and expected ~= actual and { 'version', stream, expected, actual } or nil
  end
  local versions, known, ids = {}, 0, P .. 'i:' .. stream
  if actual == 0 then
    redis.call('HLEN', ids)
  else
    for n = 1, count do
      local version = redis.call('HGET', ids, a[i + 1 + 2 * n])
      if version then
        versions[n] = tonumber(version)
        known = known + 1
      end
    end
  end
  if known == count then
    local first = versions[1]
    local same = expected == -1 or first == expected + 1
    for n = 2, count do
      same = same and versions[n] == first + n - 1
    end
    if same then
      for n = 1, count do
        if not is_stored(stream, versions[n], a[i + 2 + 2 * n]) then
          return { 'reused', stream, a[i + 1 + 2 * n], versions[n] }
        end
      end
      memo[i] = first + count - 1
      return
    end
  end
  if expected ~= -1 and expected ~= actual then
    return { 'version', stream, expected, actual }
  end
  if known > 0 then
    for n = 1, count do
      if versions[n] then
        return { 'repeated', stream, a[i + 1 + 2 * n], versions[n] }
      end
    end
  end
end

-- Writes so many records of the append at a[i], from the first on that is given.
local function write(a, i, first, count)
  local stream = a[i]
  local position = redis.call('INCRBY', P .. 'pos', count) - count
  local key, ids, log = P .. 's:' .. stream, P .. 'i:' .. stream, P .. 'log'
  local version = lengths[stream]
  for n = first, first + count - 1 do
    version, position = version + 1, position + 1
    redis.call('RPUSH', key, version .. ':' .. string.format('%.0f', position) .. ':' .. a[i + 2 + 2 * n])
    redis.call('HSET', ids, a[i + 1 + 2 * n], version)
    redis.call('XADD', log, string.format('%.0f-0', position), 's', stream, 'v', version)
  end
  lengths[stream] = version
  wake('e')
  return version, position
end

local function apply_append(a, i)
  if memo[i] then
    return memo[i], stored_position(a[i], memo[i])
  end
  local expected, count = tonumber(a[i + 1]), tonumber(a[i + 2])
  if count == 0 then
    return expected == -1 and lengths[a[i]] or expected, 0
  end
  return write(a, i, 1, count)
end

-- a[i]: stream, expected version, id and record of the only event. Nearly every append is one, and is done in half the steps: nothing
-- is answered, and nothing written, where it is a repetition or to be refused; append_all tells which.
local function apply_append_one(a, i)
  local stream, expected = a[i], tonumber(a[i + 1])
  local key = P .. 's:' .. stream
  local version = redis.call('LLEN', key)
  if expected ~= version and expected ~= -1 then
    return false
  end
  version = version + 1
  if redis.call('HSETNX', P .. 'i:' .. stream, a[i + 2], version) == 0 then
    return false
  end
  -- To look at everything before would cost each append more than it costs to take back what was written before a refusal.
  local position = redis.pcall('INCR', P .. 'pos')
  if type(position) == 'table' then
    redis.call('HDEL', P .. 'i:' .. stream, a[i + 2])
    return position
  end
  position = string.format('%.0f', position)
  local answer = redis.pcall('RPUSH', key, version .. ':' .. position .. ':' .. a[i + 3])
  if type(answer) ~= 'table' then
    answer = redis.pcall('XADD', P .. 'log', position .. '-0', 's', stream, 'v', version)
    if type(answer) ~= 'table' then
      redis.pcall('PUBLISH', P .. 'wake', 'e')
      return version .. ':' .. position
    end
    redis.call('RPOP', key)
  end
  if redis.call('DECR', P .. 'pos') == 0 then
    redis.call('DEL', P .. 'pos')
  end
  redis.call('HDEL', P .. 'i:' .. stream, a[i + 2])
  return answer
end

-- a[i]: number of appends, then each as above. The answer is "<version>:<position>" of each, with a space between. Guards have done
-- their work where all else is a repetition, unless they are to be strict.
local function meet_appends(a, i, strict)
  local at, old, new, moved = i + 1
  for _ = 1, tonumber(a[i]) do
    local count, refused = tonumber(a[at + 2]), check_append(a, at)
    if count == 0 then
      moved = moved or refused
    elseif refused then
      return refused
    else
      old, new = old or memo[at], new or not memo[at]
    end
    at = at + 3 + 2 * count
  end
  if strict or new or not old then
    return moved, new
  end
end
local function check_append_all(a, i)
  local refused, new = meet_appends(a, i)
  return refused or new and check_log() or nil
end
local function apply_append_all(a, i)
  local at, results = i + 1, ''
  for n = 1, tonumber(a[i]) do
    local version, position = apply_append(a, at)
    results = string.format(n == 1 and '%s%.0f:%.0f' or '%s %.0f:%.0f', results, version, position)
    at = at + 3 + 2 * tonumber(a[at + 2])
  end
  return results
end

-- a[i]: appends as above, one for each stream of a unit of work; then the number of its calls, and which append and how many records
-- of it each has brought: positions follow the calls.
local function check_append_in_turn(a, i)
  -- A guard may have come with another call than what is a repetition.
  local refused, new = meet_appends(a, i, true)
  return refused or new and check_log() or nil
end
local function apply_append_in_turn(a, i)
  local at, starts, written = i + 1, {}, {}
  for n = 1, tonumber(a[i]) do
    starts[n], written[n] = at, 0
    at = at + 3 + 2 * tonumber(a[at + 2])
  end
  for call = 1, tonumber(a[at]) do
    local n, count = tonumber(a[at - 1 + 2 * call]), tonumber(a[at + 2 * call])
    if not memo[starts[n]] then
      write(a, starts[n], written[n] + 1, count)
      written[n] = written[n] + count
    end
  end
end

-- a[i]: appends as above. What they would meet: each stream's version, and the version of the last event when it is a repetition.
local function apply_look_append(a, i)
  local refused = meet_appends(a, i)
  if refused then
    return refused
  end
  local at, found = i + 1, {}
  for n = 1, tonumber(a[i]) do
    local done = memo[at]
    found[n] = { redis.call('LLEN', P .. 's:' .. a[at]), done or 0, done and stored_position(a[at], done) or 0 }
    at = at + 3 + 2 * tonumber(a[at + 2])
  end
  return { 'ok', found }
end

-- a[i]: stream, lowest version, highest (0: the end), limit, '1' for backward
local function apply_read_stream(a, i)
  local key = P .. 's:' .. a[i]
  local low, high, limit = tonumber(a[i + 1]), tonumber(a[i + 2]), tonumber(a[i + 3])
  if a[i + 4] == '1' then
    local last = redis.call('LLEN', key)
    high = (high == 0 or high > last) and last or high
    low = math.max(low, high - limit + 1)
  else
    local reach = low + limit - 1
    high = (high == 0 or high > reach) and reach or high
  end
  if high < low then
    return {}
  end
  return redis.call('LRANGE', key, low - 1, high - 1)
end

-- a[i]: position before the first, limit. Between two positions a stream's versions have no gap: one read for each stream.
local function apply_read_all(a, i)
  local entries = redis.call('XRANGE', P .. 'log', '(' .. a[i] .. '-0', '+', 'COUNT', a[i + 1])
  local low, high, found, result = {}, {}, {}, {}
  for _, entry in ipairs(entries) do
    local stream, version = entry[2][2], tonumber(entry[2][4])
    low[stream] = low[stream] or version
    high[stream] = version
  end
  for stream, first in pairs(low) do
    found[stream] = redis.call('LRANGE', P .. 's:' .. stream, first - 1, high[stream] - 1)
  end
  for n, entry in ipairs(entries) do
    local stream, version = entry[2][2], tonumber(entry[2][4])
    result[2 * n - 1] = stream
    result[2 * n] = found[stream][version - low[stream] + 1]
  end
  return result
end
