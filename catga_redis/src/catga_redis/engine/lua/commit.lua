-- Everything a unit of work has collected. ARGV: time, its id, number of operations, then name, number of arguments and these of each.
-- `checks` and `applies` have those of its operations, by name.
local marker = P .. 'tx:' .. ARGV[2]
if redis.call('EXISTS', marker) == 1 then
  return 1
end
local function each(act)
  local at = 4
  for n = 1, tonumber(ARGV[3]) do
    local answer = act(ARGV[at], at + 2)
    if answer then
      return answer
    end
    at = at + 2 + tonumber(ARGV[at + 1])
  end
end
local refused = each(function(name, at)
  return checks[name] and checks[name](ARGV, at)
end)
if refused then
  return refused
end
-- Tells who asks again, because the answer was lost, that it was done. Written first, where a full memory refuses.
redis.call('SET', marker, '1', 'EX', 120)
local done, trouble = pcall(each, function(name, at)
  applies[name](ARGV, at)
end)
if not done then
  -- No check has foreseen it. A repetition must not take it for a commit.
  redis.call('DEL', marker)
  return { 'half', type(trouble) == 'table' and trouble.err or tostring(trouble) }
end
tell()
return 1
