-- Charges all quotas, or none of them if an enforced one denies.
--
-- KEYS     one for each pair of key and scope
-- ARGV[1]  1 to decide without charging, 0 to charge
-- then for each quota 7 values:
--   index in KEYS, name, limit, period, burst, cost, forced (0 or 1)
-- Returns 4 integers a quota: allowed, remaining, reset after, retry after.
--
-- All limits of a key live in one string, "name=state;name=state;". The name is
-- a letter for the algorithm, upper case for a shadow limit, and the period:
--   f60000000=start,count,             fixed-window
--   s60000000=start,previous,current,  sliding-window
--   t60000000=tat,fraction,            token-bucket
--   l60000000=time,units,time,units,   sliding-log
-- Times are integer microseconds of this server's clock. All numbers stay below
-- 2^53, where a Lua number is an exact integer; products that might not go
-- through mul_div. The arithmetic is that of internal/window, line by line.

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local EXACT = 9007199254740992 -- 2^53
local MAX_UNITS = 17592186044415 -- 2^44 - 1
local MAX_DEBT = 4503599627370496 -- 2^52
local MAX_CELLS = 129

-- floor(a * b / c) and the remainder. The long way divides 7 bits at a time, so
-- that no step passes 2^53 for a b and c below 2^45.
local function mul_div(a, b, c)
  local product = a * b
  if product < EXACT then
    local q = floor(product / c)
    return q, product - q * c
  end
  if product / c >= MAX_DEBT then
    return MAX_DEBT, 0
  end
  local q, r, scale = 0, 0, 562949953421312 -- 2^49
  while scale >= 1 do
    local digits = floor(a / scale)
    a = a - digits * scale
    r = r * 128 + digits * b
    local d = floor(r / c)
    q = q * 128 + d
    r = r - d * c
    scale = scale / 128
  end
  return q, r
end

local function mul_div_up(a, b, c)
  local q, r = mul_div(a, b, c)
  if r > 0 then q = q + 1 end
  return q
end

-- An algorithm takes the time, a quota and the state, and returns the new state
-- behind its verdict: allowed, remaining, reset after, retry after, state.

local take = {}

function take.f(now, q, s)
  local limit, per, cost = q.limit, q.per, q.cost
  local start, count = now - now % per, 0
  if start <= s[1] then start, count = s[1], s[2] end
  local allowed, retry = cost < 0 or q.forced or count + cost <= limit, 0
  if not allowed then
    retry = cost > limit and -1 or start + per - now
  else
    count = max(0, min(MAX_UNITS, count + cost))
  end
  local reset = count > 0 and start + per - now or 0
  return allowed, max(0, limit - count), reset, retry, { start, count }
end

function take.s(now, q, s)
  local limit, per, cost = q.limit, q.per, q.cost
  local start, previous, current = now - now % per, 0, 0
  if start <= s[1] then
    start, previous, current = s[1], s[2], s[3]
  elseif start - per == s[1] then
    previous = s[3]
  end
  local left = per - (max(now, start) - start) -- of the current window
  local used = mul_div_up(previous, left, per) + current
  local allowed, retry = cost < 0 or q.forced or used + cost <= limit, 0
  if not allowed then
    local room = limit - current - cost
    if cost > limit then
      retry = -1
    elseif room > 0 then
      retry = start + per - mul_div(room, per, previous) - now
    elseif room == 0 then
      retry = start + per - now
    else
      retry = start + per + max(0, per - mul_div(limit - cost, per, current)) - now
    end
  else
    current = min(MAX_UNITS, current + cost)
    if current < 0 then
      previous, current = max(0, previous + current), 0
    end
    used = mul_div_up(previous, left, per) + current
  end
  local reset = 0
  if current > 0 then
    reset = start + 2 * per - now
  elseif previous > 0 then
    reset = start + per - now
  end
  return allowed, max(0, limit - used), reset, retry, { start, previous, current }
end

function take.t(now, q, s)
  local limit, per, cost = q.limit, q.per, q.cost
  local tat, fraction = s[1], s[2]
  if fraction > 0 and fraction >= limit then tat, fraction = tat + 1, 0 end
  local debt = tat - now
  if debt < 0 then debt, fraction = 0, 0 end
  if limit == 0 then -- there is no rate to convert units with
    local allowed = cost <= 0 or q.forced
    return allowed, 0, debt, allowed and 0 or -1, s
  end
  local burst = q.burst > 0 and q.burst or limit
  local full, full_fraction = per, 0
  if burst ~= limit then full, full_fraction = mul_div(burst, per, limit) end

  local after, after_fraction = debt, fraction
  if cost ~= 0 then
    local step, step_fraction = mul_div(cost < 0 and -cost or cost, per, limit)
    if cost < 0 then step, step_fraction = -step, -step_fraction end
    after, after_fraction = debt + step, fraction + step_fraction
    if after_fraction >= limit then
      after, after_fraction = after + 1, after_fraction - limit
    elseif after_fraction < 0 then
      after, after_fraction = after - 1, after_fraction + limit
    end
    if after < 0 then after, after_fraction = 0, 0 end
    if after >= MAX_DEBT then after, after_fraction = MAX_DEBT, 0 end
  end

  -- Fractions are rounded up, in the debt and in the wait alike.
  local excess = after - full + (after_fraction > full_fraction and 1 or 0)
  local allowed, retry = cost < 0 or q.forced or excess <= 0, 0
  if allowed then
    debt, fraction = after, after_fraction
  else
    retry = cost > burst and -1 or excess
  end
  local room, room_fraction = full - debt, full_fraction - fraction
  if room_fraction < 0 then room, room_fraction = room - 1, room_fraction + limit end
  local remaining = 0
  if room >= 0 then
    local units, rest = mul_div(room, limit, per)
    remaining = units + floor((rest + room_fraction) / per)
  end
  local reset = debt + (fraction > 0 and 1 or 0)
  return allowed, remaining, reset, retry, { now + debt, fraction }
end

local function total(cells)
  local sum = 0
  for i = 2, #cells, 2 do sum = sum + cells[i] end
  return min(sum, MAX_UNITS)
end

function take.l(now, q, s)
  local limit, per, cost = q.limit, q.per, q.cost
  local cells, at = {}, max(now, s[#s - 1] or 0)
  for i = 1, #s - 1, 2 do
    if s[i] + per > at then
      cells[#cells + 1] = s[i]
      cells[#cells + 1] = s[i + 1]
    end
  end
  local used, n = total(cells), #cells
  local allowed, retry = cost < 0 or q.forced or used + cost <= limit, 0
  if not allowed then
    if cost > limit then
      retry = -1
    else
      local i, left = 1, used - cells[2]
      while left + cost > limit do
        i = i + 2
        left = left - cells[i + 1]
      end
      retry = cells[i] + per - now
    end
  elseif cost > 0 then
    local width = limit > 128 and ceil(per / 128) or 1
    if n > 0 and (n == 2 * MAX_CELLS or floor(cells[n - 1] / width) == floor(at / width)) then
      cells[n - 1], cells[n] = at, min(MAX_UNITS, cells[n] + cost)
    else
      cells[n + 1], cells[n + 2] = at, cost
    end
  elseif cost < 0 then
    local units = -cost
    while units > 0 and n > 0 do
      local back = min(units, cells[n])
      units, cells[n] = units - back, cells[n] - back
      if cells[n] == 0 then
        cells[n], cells[n - 1] = nil, nil
        n = n - 2
      end
    end
  end
  local reset = #cells > 0 and cells[#cells - 1] + per - now or 0
  return allowed, max(0, limit - total(cells)), reset, retry, cells
end

-- The states of a key, read once: name -> list of numbers.

local function numbers(text)
  local list = {}
  for number in string.gmatch(text, '%d+') do list[#list + 1] = tonumber(number) end
  return list
end

local function load(key)
  local states = {}
  local packed = redis.call('GET', key)
  if packed then
    for name, state in string.gmatch(packed, '([^=;]+)=([^;]*);') do states[name] = numbers(state) end
  end
  return states
end

-- When a state means nothing any more.
local function expires(letter, per, s)
  if letter == 'f' then return s[1] + (s[2] > 0 and per or 0) end
  if letter == 's' then return s[1] + (s[3] > 0 and 2 * per or s[2] > 0 and per or 0) end
  if letter == 't' then return s[1] + (s[2] > 0 and 1 or 0) end
  return #s > 0 and s[#s - 1] + per or 0
end

local function store(now, key, states)
  local packed, last = {}, now
  for name, s in pairs(states) do
    local ends = expires(string.lower(string.sub(name, 1, 1)), tonumber(string.sub(name, 2)), s)
    if ends > now then
      last = max(last, ends)
      packed[#packed + 1] = string.format('%s=' .. string.rep('%.0f,', #s) .. ';', name, unpack(s))
    end
  end
  if #packed == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, table.concat(packed), 'PX', string.format('%.0f', ceil((last - now) / 1000)))
  end
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local charging = ARGV[1] == '0'
local quotas, answers = {}, {}
local before, after = {}, {} -- the states of each key, as read and as charged
local granted = true

local untouched = { f = { 0, 0 }, s = { 0, 0, 0 }, t = { 0, 0 }, l = {} }

local function decide(q, states)
  return take[q.letter](now, q, states[q.name] or before[q.key][q.name] or untouched[q.letter])
end

for i = 2, #ARGV, 7 do
  local key, name = tonumber(ARGV[i]), ARGV[i + 1]
  local letter = string.sub(name, 1, 1)
  local q = {
    key = key, name = name, letter = string.lower(letter), shadow = letter < 'a',
    limit = tonumber(ARGV[i + 2]), per = tonumber(ARGV[i + 3]), burst = tonumber(ARGV[i + 4]),
    cost = tonumber(ARGV[i + 5]), forced = ARGV[i + 6] == '1',
  }
  q.forced = q.forced and q.cost > 0 -- it means nothing to a peek or a refund
  if not before[key] then before[key], after[key] = load(KEYS[key]), {} end
  local allowed, remaining, reset, retry, state = decide(q, after[key])
  if not allowed then
    granted = granted and q.shadow
  elseif q.cost ~= 0 then
    after[key][name] = state
  end
  quotas[#quotas + 1] = q
  local n = #answers
  answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4] = allowed and 1 or 0, remaining, reset, retry
end

if granted and charging then
  for key, changed in pairs(after) do
    if next(changed) then
      local states = before[key]
      for name, state in pairs(changed) do states[name] = state end
      store(now, KEYS[key], states)
    end
  end
else -- nothing is charged: what remains is what there was
  for i, q in ipairs(quotas) do
    q.cost, q.forced = 0, false
    local _, remaining, reset = decide(q, {})
    answers[4 * i - 2], answers[4 * i - 1] = remaining, reset
  end
end
return answers
