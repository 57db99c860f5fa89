-- What every script begins with. KEYS[1] is the root "{prefix}:", ARGV[1] the time in seconds where the caller's clock is not the
-- machine's, else ''. An operation X is a function apply_X, which must not fail after it has written something: Redis takes nothing
-- back. Where there is something to refuse, a function check_X before it only reads; it returns a table of a word and its facts to
-- refuse, nothing otherwise. What is answered often is no table: a server makes one in several steps, which cost as much as three
-- commands. scripts.py gives a script those of these definitions whose names stand in it.
local P = KEYS[1]
local server_time = ARGV[1] == ''
local memo, wakes = {}, {}

local time
local function now()
  if not time then
    if server_time then
      local t = redis.call('TIME')
      time = tonumber(t[1]) + tonumber(t[2]) / 1000000
    else
      time = tonumber(ARGV[1])
    end
  end
  return time
end

-- Lua prints 14 digits of a number, and a time has 16.
local function exact(seconds)
  return string.format('%.6f', seconds)
end

-- Only the server's own time can end a key's life; with another clock expired keys are passed over, and stay.
local function expire(key, seconds)
  if server_time then
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(1, seconds * 1000)))
  end
end

-- Whether two fingerprints are of the same message: "<name>@<version>#<digest>"; of two versions only the names can be compared, and
-- unknown content counts as the same. As `same_content` of the core.
local function same_content(stored, given)
  if stored == given or stored == '' or given == '' then
    return true
  end
  local name, version, digest = string.match(stored, '^(.*)@(%d+)#(%x*)$')
  local other, its_version, its_digest = string.match(given, '^(.*)@(%d+)#(%x*)$')
  return name ~= nil and name == other and (version ~= its_version or digest == '' or its_digest == '')
end

-- For checks: a counter that another program has made something else would end a script in its midst.
local function check_counter(key)
  local value = redis.call('GET', P .. key)
  if value and not string.match(value, '^%d+$') then
    return redis.error_reply('DAMAGED the key ' .. P .. key .. ' holds no number')
  end
end

local function next_token()
  local token = redis.pcall('INCR', P .. 'fence')
  if type(token) == 'table' then
    -- The first write of every script that comes here without having checked it.
    error(check_counter('fence') or token)
  end
  return token
end

-- Told at the end, once each. Who may not publish still may write: waiting then falls back to asking.
local function wake(what)
  wakes[what] = true
end
local function tell()
  for what in pairs(wakes) do
    redis.pcall('PUBLISH', P .. 'wake', what)
  end
end
