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

local call = redis.call
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local find, match, gmatch, format, sub = string.find, string.match, string.gmatch, string.format, string.sub
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

-- An algorithm takes the time, a charge and the numbers of a state, and returns
-- allowed, remaining, reset after, retry after, and the numbers of the new state.

local function fixed(now, limit, per, cost, forced, a, b)
  local start, count = now - now % per, 0
  if start <= a then start, count = a, b end
  local allowed, retry = cost < 0 or forced or count + cost <= limit, 0
  if allowed then
    count = max(0, min(MAX_UNITS, count + cost))
  else
    retry = cost > limit and -1 or start + per - now
  end
  return allowed, max(0, limit - count), count > 0 and start + per - now or 0, retry, start, count
end

local function sliding(now, limit, per, cost, forced, a, b, c)
  local start, previous, current = now - now % per, 0, 0
  if start <= a then
    start, previous, current = a, b, c
  elseif start - per == a then
    previous = c
  end
  local left = per - (max(now, start) - start) -- of the current window
  local used = mul_div_up(previous, left, per) + current
  local allowed, retry = cost < 0 or forced or used + cost <= limit, 0
  if allowed then
    used = used - current
    current = min(MAX_UNITS, current + cost)
    if current < 0 then
      previous, current = max(0, previous + current), 0
      used = mul_div_up(previous, left, per)
    end
    used = used + current
  elseif cost > limit then
    retry = -1
  else
    local room, fading, from = limit - current - cost, previous, start
    if room < 0 then -- not before the next window
      room, fading, from = limit - cost, current, start + per
    end
    local faded = room > 0 and mul_div(room, per, fading) or 0
    retry = from + per - faded - now
  end
  local reset = 0
  if current > 0 then
    reset = start + 2 * per - now
  elseif previous > 0 then
    reset = start + per - now
  end
  return allowed, max(0, limit - used), reset, retry, start, previous, current
end

local function bucket(now, limit, per, cost, forced, tat, fraction, burst)
  local kept, kept_fraction = tat, fraction
  if fraction > 0 and fraction >= limit then tat, fraction = tat + 1, 0 end
  local debt = tat - now
  if debt < 0 then debt, fraction = 0, 0 end
  if limit == 0 then -- there is no rate to convert units with
    if fraction > 0 then debt = debt + 1 end
    if cost == 0 and debt > 0 then return false, 0, debt, debt, kept, kept_fraction end
    local allowed = cost <= 0 or forced
    return allowed, 0, debt, allowed and 0 or -1, kept, kept_fraction
  end
  if burst == 0 then burst = limit end
  local full, full_fraction = per, 0
  if burst ~= limit then full, full_fraction = mul_div(burst, per, limit) end
  if full >= MAX_DEBT then full, full_fraction = MAX_DEBT - 1, 0 end -- less than any price that saturates

  local after, after_fraction, never = debt, fraction, false
  if cost ~= 0 then
    local step, step_fraction = mul_div(cost < 0 and -cost or cost, per, limit)
    never = step > full or step == full and step_fraction > full_fraction
    if cost < 0 then step, step_fraction = -step, -step_fraction end
    after, after_fraction = debt + step, fraction + step_fraction
    if after_fraction >= limit then
      after, after_fraction = after + 1, after_fraction - limit
    elseif after_fraction < 0 then
      after, after_fraction = after - 1, after_fraction + limit
    end
    if after < 0 then after, after_fraction = 0, 0 end
  end

  -- Fractions are rounded up, in the debt and in the wait alike.
  local excess = after - full + (after_fraction > full_fraction and 1 or 0)
  local allowed, retry = cost < 0 or forced or excess <= 0, 0
  if allowed then
    if cost > 0 and after >= MAX_DEBT then after, after_fraction = max(debt, MAX_DEBT), 0 end
    debt, fraction = after, after_fraction
  else
    retry = never and -1 or excess
  end
  local room, room_fraction = full - debt, full_fraction - fraction
  if room_fraction < 0 then room, room_fraction = room - 1, room_fraction + limit end
  local remaining = 0
  if room >= 0 then
    local units, rest = mul_div(room, limit, per)
    remaining = units + floor((rest + room_fraction) / per)
  end
  local reset = debt + (fraction > 0 and 1 or 0)
  return allowed, remaining, reset, retry, now + debt, fraction
end

local function total(cells)
  local sum = 0
  for i = 2, #cells, 2 do sum = sum + cells[i] end
  return sum
end

local function log(now, limit, per, cost, forced, s)
  local cells, at = {}, max(now, s[#s - 1] or 0)
  for i = 1, #s - 1, 2 do
    if s[i] + per > at then
      cells[#cells + 1] = s[i]
      cells[#cells + 1] = s[i + 1]
    end
  end
  local used, n = total(cells), #cells
  local allowed, retry = cost < 0 or forced or used + cost <= limit, 0
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
  elseif cost > 0 and used < MAX_UNITS then
    cost = min(cost, MAX_UNITS - used)
    local width = limit > 128 and ceil(per / 128) or 1
    if n > 0 and (n == 2 * MAX_CELLS or floor(cells[n - 1] / width) == floor(at / width)) then
      cells[n - 1], cells[n] = at, cells[n] + cost
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

-- decide parses the state that begins in a text, lets its algorithm decide, and
-- returns the new state as text and when it means nothing any more.
local function decide(letter, now, limit, per, burst, cost, forced, text, from)
  if letter == 'l' or letter == 'L' then
    local cells = {}
    for number in gmatch(match(text, '^[^;]*', from), '%d+') do cells[#cells + 1] = tonumber(number) end
    local allowed, remaining, reset, retry, new = log(now, limit, per, cost, forced, cells)
    if not allowed or cost == 0 then return allowed, remaining, reset, retry end
    local ends = #new > 0 and new[#new - 1] + per or 0
    return allowed, remaining, reset, retry, format(string.rep('%.0f,', #new), unpack(new)), ends
  end
  local a, b, c = 0, 0, 0
  if text ~= '' then
    a, b, c = match(text, '^(%d+),(%d+),(%d*)', from)
    a, b, c = tonumber(a), tonumber(b), tonumber(c) or 0
  end
  local allowed, remaining, reset, retry, ends
  if letter == 's' or letter == 'S' then
    allowed, remaining, reset, retry, a, b, c = sliding(now, limit, per, cost, forced, a, b, c)
    if not allowed or cost == 0 then return allowed, remaining, reset, retry end
    ends = a + (c > 0 and 2 * per or b > 0 and per or 0)
    return allowed, remaining, reset, retry, format('%.0f,%.0f,%.0f,', a, b, c), ends
  end
  if letter == 't' or letter == 'T' then
    allowed, remaining, reset, retry, a, b = bucket(now, limit, per, cost, forced, a, b, burst)
    ends = a + (b > 0 and 1 or 0)
  else
    allowed, remaining, reset, retry, a, b = fixed(now, limit, per, cost, forced, a, b)
    ends = a + (b > 0 and per or 0)
  end
  if not allowed or cost == 0 then return allowed, remaining, reset, retry end
  return allowed, remaining, reset, retry, format('%.0f,%.0f,', a, b), ends
end

-- When a state that was not asked for means nothing any more.
local function expires(name, state)
  local per = tonumber(sub(name, 2))
  local letter = sub(name, 1, 1)
  if letter == 'l' or letter == 'L' then
    return (tonumber(match(state, '(%d+),%d+,$')) or -per) + per
  end
  local a, b, c = match(state, '^(%d+),(%d+),(%d*)')
  a, b, c = tonumber(a), tonumber(b), tonumber(c) or 0
  if letter == 's' or letter == 'S' then return a + (c > 0 and 2 * per or b > 0 and per or 0) end
  if letter == 't' or letter == 'T' then return a + (b > 0 and 1 or 0) end
  return a + (b > 0 and per or 0)
end

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local values, changes, ends = {}, {}, {} -- of each key: as read, as charged, until when
local answers, granted = {}, true

-- Where the state of a name begins: the text and the place in it.
local function state_of(key, name)
  local _, at = find(values[key], name .. '=', 1, true)
  if at then return values[key], at + 1 end
  return '', 1
end

for i = 2, #ARGV, 7 do
  local key, name, cost = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 5])
  if not values[key] then
    values[key], changes[key], ends[key] = call('GET', KEYS[tonumber(key)]) or '', {}, 0
  end
  local letter = sub(name, 1, 1)
  local text, from = changes[key][name], 1
  if not text then text, from = state_of(key, name) end
  local allowed, remaining, reset, retry, state, until_ = decide(
    letter, now, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), cost,
    cost > 0 and ARGV[i + 6] == '1', text, from)
  if state then
    if until_ <= now then state = '' end
    changes[key][name] = state
    ends[key] = max(ends[key], until_)
  elseif not allowed and letter > 'Z' then -- upper case is a shadow, which denies nothing
    granted = false
  end
  local n = #answers
  answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4] = allowed and 1 or 0, remaining, reset, retry
end

if granted and ARGV[1] == '0' then
  for key, changed in pairs(changes) do
    if next(changed) then
      local packed, last = '', ends[key]
      for name, state in gmatch(values[key], '([^=]+)=([^;]*);') do
        if not changed[name] then
          local until_ = expires(name, state)
          if until_ > now then
            packed = packed .. name .. '=' .. state .. ';'
            last = max(last, until_)
          end
        end
      end
      for name, state in pairs(changed) do
        if state ~= '' then packed = packed .. name .. '=' .. state .. ';' end
      end
      if packed == '' then
        call('DEL', KEYS[tonumber(key)])
      else
        call('SET', KEYS[tonumber(key)], packed, 'PX', ceil((last - now) / 1000))
      end
    end
  end
else -- nothing is charged: what remains is what there was
  local n = 2
  for i = 2, #ARGV, 7 do
    local name = ARGV[i + 1]
    local _, remaining, reset = decide(
      sub(name, 1, 1), now, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), 0, false,
      state_of(ARGV[i], name))
    answers[n], answers[n + 1] = remaining, reset
    n = n + 4
  end
end
return answers
