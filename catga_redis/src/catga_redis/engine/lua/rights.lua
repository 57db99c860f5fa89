-- a[i]: number of commands, then each. Those that the user may not give with keys of the stores: a script would end in its midst.
local function apply_forbidden(a, i)
  local found, key = {}, P .. 'rights'
  for n = 1, tonumber(a[i]) do
    if not redis.acl_check_cmd(a[i + n], key, key, key, key) then
      found[#found + 1] = a[i + n]
    end
  end
  return found
end

-- Writes nothing: what comes after it is asked whether everything before it is confirmed.
local function apply_confirm()
  return 1
end

-- Writes an unused key: shows whether the server accepts writes.
local function apply_probe()
  redis.call('SET', P .. 'probe', '1', 'PX', 60000)
  return 1
end
