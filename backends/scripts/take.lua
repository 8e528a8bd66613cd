-- Makes decisions one after the other, each of which charges all its quotas, or
-- none of them if an enforced one denies.
--
-- KEYS  one for each pair of key and scope, in the order of their use
-- ARGV  for each decision how many times it is asked for, and on how many keys;
--       for each of these how many quotas it has;
--       for each quota 6 values: name with =, limit, period, cost, burst, and 1 for a
--       forced cost, or the receipt (0 for none) of a cost below 0; bans come last,
--       with their length for a burst
-- Returns words with a space between: the seconds and microseconds of the time;
-- for each decision how many times it was granted, and what was known of each of
-- its keys before. The caller finds the verdicts from that. Granted -1 times: the
-- value of a key is none of ours.
--
-- Asked for several times, a decision has one quota, which is enforced and not
-- forced, and costs something.
--
-- All limits of a key live in one string, "name=state;name=state;". Where there
-- are several, 16 digits behind them tell when the last of them means nothing any
-- more. A name is a letter for the algorithm, upper case for a shadow limit, and
-- the period:
--   f60000000=start,count,             fixed-window
--   s60000000=start,previous,current,  sliding-window
--   t60000000=tat,fraction,            token-bucket
--   l60000000=time,units,time,units,   sliding-log
--   b60000000=time,units,time,units,   refusals, of which many make a ban
-- Times are integer microseconds of this server's clock. All numbers stay below
-- 2^53, where a Lua number is an exact integer; products that might not go
-- through mul_div. Times are formatted, which is slow; units have 14 digits at
-- most, and may be concatenated. The arithmetic is that of internal/window.

local call, find, match, sub, format, byte = redis.call, string.find, string.match, string.sub, string.format, string.byte
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

-- How many of so many times a cost fits into what is left.
local function fitting(times, left, cost, forced)
  if cost > 0 and not forced then return min(times, floor(left / cost)) end
  return cost == 0 and left < 0 and 0 or times
end

-- Every algorithm tells how many of the times it is asked for it allows, what the
-- state is then, and when that means nothing any more.

local function fixed(now, limit, per, cost, times, forced, receipt, a, b)
  local start, count = now - now % per, 0
  if start <= a then start, count = a, b end
  times = fitting(times, limit - count, cost, forced)
  if times <= 0 or cost == 0 then return times end
  if receipt ~= 0 and receipt ~= start then cost = 0 end -- those are back already
  count = max(0, min(MAX_UNITS, count + cost * times))
  return times, format('%.0f,', start) .. count .. ',', count > 0 and start + per or 0
end

-- When a sliding window means nothing any more: one unit alone counts for nothing
-- in the next window.
local function sliding_ends(start, per, previous, current)
  return current > 1 and start + 2 * per or (current > 0 or previous > 1) and start + per or 0
end

local function sliding(now, limit, per, cost, times, forced, receipt, a, b, c)
  local start, previous, current = now - now % per, 0, 0
  local written = a .. ',' .. b .. ',' -- start and previous, while they stay
  a = a + 0
  if start <= a then
    start, previous, current = a, b + 0, c + 0
  else
    if start - per == a then previous = c + 0 end
    written = format('%.0f,%.0f,', start, previous)
  end
  local used = current
  if previous > 0 then
    used = used + (mul_div(previous, per - 1 - (max(now, start) - start), per))
  end
  times = fitting(times, limit - used, cost, forced)
  if times <= 0 or cost == 0 then return times end
  local older = receipt ~= 0 and receipt ~= start and cost or 0 -- what is not for this window
  current = min(MAX_UNITS, current + (cost - older) * times)
  if current < 0 then
    older, current = receipt == 0 and current or 0, 0
  elseif receipt ~= start - per then
    older = 0
  end
  if older < 0 then
    previous = max(0, previous + older)
    written = format('%.0f,%.0f,', start, previous)
  end
  return times, written .. current .. ',', sliding_ends(start, per, previous, current)
end

local function bucket(now, limit, per, cost, times, forced, receipt, tat, fraction, burst)
  if fraction > 0 and fraction >= limit then tat, fraction = tat + 1, 0 end
  local debt = tat - now
  if debt < 0 then debt, fraction = 0, 0 end
  if limit == 0 then -- there is no rate to convert units with
    if cost > 0 and not forced or cost == 0 and debt + fraction > 0 then times = 0 end
    return times
  end
  if burst == 0 then burst = limit end
  local full, full_fraction = per, 0
  if burst ~= limit then full, full_fraction = mul_div(burst, per, limit) end
  if full >= MAX_DEBT then full, full_fraction = MAX_DEBT - 1, 0 end -- less than any price that saturates
  if cost >= 0 and not forced then
    local room, rest = full - debt, full_fraction - fraction
    if rest < 0 then room, rest = room - 1, rest + limit end
    if room < 0 then return 0 end
    if cost == 0 then return times end
    local units, part = mul_div(room, limit, per)
    times = min(times, floor((units + floor((part + rest) / per)) / cost))
    if times <= 0 then return 0 end
  end
  if cost == 0 then return times end
  local step, step_fraction = mul_div(cost < 0 and -cost or cost * times, per, limit)
  if receipt ~= 0 and max(0, receipt - now) < step + (step_fraction > 0 and 1 or 0) then
    step, step_fraction = max(0, receipt - now), 0 -- time has paid the rest
  end
  local after, after_fraction = debt + step, fraction + step_fraction
  if cost < 0 then after, after_fraction = debt - step, fraction - step_fraction end
  if after_fraction >= limit then
    after, after_fraction = after + 1, after_fraction - limit
  elseif after_fraction < 0 then
    after, after_fraction = after - 1, after_fraction + limit
  end
  if after < 0 then
    after, after_fraction = 0, 0
  elseif cost > 0 and after >= MAX_DEBT then
    after, after_fraction = max(debt, MAX_DEBT), 0
  end
  tat = now + after
  return times, format('%.0f,%.0f,', tat, after_fraction), after_fraction > 0 and tat + 1 or tat
end

-- The time a log has reached, and what it holds of the last period.
local function living(now, per, state)
  local old, cells, n, used = {}, {}, 0, 0
  for time, units in string.gmatch(state, '(%d+),(%d+),') do
    old[#old + 1], old[#old + 2] = time + 0, units + 0
  end
  local at = max(now, old[#old - 1] or 0)
  for i = 1, #old, 2 do
    if old[i] + per > at then
      cells[n + 1], cells[n + 2] = old[i], old[i + 1]
      n, used = n + 2, used + old[i + 1]
    end
  end
  return at, cells, n, used
end

-- Adds units to a log, and tells how long it is then.
local function enter(cells, n, at, units, limit, per)
  local width = limit > 128 and ceil(per / 128) or 1
  if n > 0 and (n == 2 * MAX_CELLS or floor(cells[n - 1] / width) == floor(at / width)) then
    cells[n - 1], cells[n] = at, cells[n] + units
    return n
  end
  cells[n + 1], cells[n + 2] = at, units
  return n + 2
end

local function written(cells, n)
  return format(string.rep('%.0f,', n), unpack(cells))
end

local function log(now, limit, per, cost, times, forced, receipt, state)
  local at, cells, n, used = living(now, per, state)
  times = fitting(times, limit - used, cost, forced)
  if times <= 0 or cost == 0 then return times end
  local units = min(cost * times, MAX_UNITS - used)
  if units > 0 then n = enter(cells, n, at, units, limit, per) end
  if receipt ~= 0 then
    local i = 1
    while i < n and cells[i] < receipt do i = i + 2 end
    if i < n and receipt + per > at then
      cells[i + 1] = cells[i + 1] + units
      if cells[i + 1] <= 0 then
        table.remove(cells, i)
        table.remove(cells, i)
        n = n - 2
      end
    end
    units = 0
  end
  while cost < 0 and units < 0 and n > 0 do
    local back = min(-units, cells[n])
    units, cells[n] = units + back, cells[n] - back
    if cells[n] == 0 then
      cells[n], cells[n - 1] = nil, nil
      n = n - 2
    end
  end
  return times, written(cells, n), n > 0 and cells[n - 1] + per or 0
end

-- Tells whether there is a ban, and what the state is if a denial counts for it.
local function strikes(now, limit, per, ban, denied, state)
  local at, cells, n, used = living(now, per, state)
  if cells[2] == MAX_UNITS then return true end
  if not denied then return false end
  if used + 1 >= limit then
    return true, format('%.0f,%.0f,', max(0, at + ban - per), MAX_UNITS)
  end
  return false, written(cells, enter(cells, n, at, 1, limit, per))
end

-- tidy drops the limits of a text that mean nothing any more, and tells when the
-- last of the others does, and whether they are several.
local function tidy(text, now)
  local kept, last, entries = '', 0, 0
  for name, state in string.gmatch(text, '([^=]+)=([^;]*);') do
    local per, letter = sub(name, 2) + 0, string.lower(sub(name, 1, 1))
    local a, b, c = match(state, '^(%d+),(%d+),(%d*)')
    local until_ = 0
    if letter == 'l' or letter == 'b' then
      until_ = (match(state, '(%d+),%d+,$') or -per) + per
    elseif not a then -- no state at all
    elseif letter == 's' then
      until_ = sliding_ends(a + 0, per, b + 0, tonumber(c) or 0)
    elseif letter == 't' then
      until_ = a + (b + 0 > 0 and 1 or 0)
    else
      until_ = a + (b + 0 > 0 and per or 0)
    end
    if until_ > now then
      kept, last, entries = kept .. name .. '=' .. state .. ';', max(last, until_), entries + 1
    end
  end
  return kept, last, entries > 1
end

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply, words = {clock[1], clock[2]}, 2

local function write(key, text, last, several, untidy)
  if untidy then text, last, several = tidy(text, now) end
  if text == '' then
    call('DEL', key)
  else
    if several then text = text .. format('%016.0f', last) end
    call('SET', key, text, 'PX', ceil((last - now) / 1000) .. '')
  end
end

-- state_of is the state of one name in a text, nil if it is not there.
local function state_of(text, name)
  local _, to = find(text, name, 1, true)
  return to and match(text, '^[^;]*', to + 1)
end

-- replaced is a text of states with another state of one name.
local function replaced(text, name, state)
  local from, to = find(text, name, 1, true)
  if not from then return text .. name .. state .. ';' end
  return sub(text, 1, from - 1) .. name .. state .. sub(text, find(text, ';', to, true), -1)
end

local at, stop, key = 1, #ARGV, 0
while at < stop do
  local times, subjects = ARGV[at] + 0, ARGV[at + 1] + 0
  local granted, place, pending = times, words + 1, nil
  words = place
  at = at + 2
  for _ = 1, subjects do
    key = key + 1
    local text, last, several, untidy, changed = redis.pcall('GET', KEYS[key]), 0, false, false, false
    local fresh = not text
    if fresh then
      text = ''
    elseif text.err then
      granted, text = -1, ''
    elseif byte(text, -1) ~= 59 then -- no semicolon, but digits
      last, several = byte(text, -17) == 59 and tonumber(sub(text, -16)) or -1, true
      text = sub(text, 1, -17)
      if last < 0 then granted, text = -1, '' end
    end
    if find(text, ' ', 1, true) then granted, text = -1, '' end -- it would be two words
    words = words + 1
    reply[words] = text
    local denied, struck = false, nil
    -- Quotas mostly come in the order of their states: done is what is new of the
    -- text up to cursor.
    local quotas, done, cursor = ARGV[at], '', 1
    for i = at + 1, at + 6 * quotas, 6 do
      local name, limit, per, cost = ARGV[i], ARGV[i + 1] + 0, ARGV[i + 2] + 0, ARGV[i + 3] + 0
      local forced, receipt = cost > 0 and ARGV[i + 5] == '1', cost < 0 and ARGV[i + 5] + 0 or 0
      local letter, before = byte(name), cursor + #name - 1
      if sub(text, cursor, before) ~= name then
        text = done .. sub(text, cursor)
        cursor, before = find(text, name, 1, true)
        cursor = cursor or #text + 1
        done = sub(text, 1, cursor - 1)
      end
      local n, state, until_, after
      if letter == 98 then -- b
        local cells, banned, strike
        if before then cells, after = match(text, '^([%d,]*);()', before + 1) end
        if struck then cells = state_of(struck, name) end -- as a ban before it has left it
        banned, strike = strikes(now, limit, per, ARGV[i + 4] + 0, denied and cost > 0, cells or '')
        n = banned and 0 or times
        if strike then struck = replaced(struck or reply[words], name, strike) end
      elseif letter == 108 or letter == 76 then -- l, L
        local cells
        if before then cells, after = match(text, '^([%d,]*);()', before + 1) end
        n, state, until_ = log(now, limit, per, cost, times, forced, receipt, cells or '')
      else
        local a, b, c
        if before then a, b, c, after = match(text, '^(%d+),(%d+),(%d*),?;()', before + 1) end
        if letter == 115 or letter == 83 then -- s, S
          n, state, until_ = sliding(now, limit, per, cost, times, forced, receipt, a or 0, b or 0, tonumber(c) or 0)
        elseif letter == 116 or letter == 84 then -- t, T
          n, state, until_ = bucket(now, limit, per, cost, times, forced, receipt, (a or 0) + 0, (b or 0) + 0, ARGV[i + 4] + 0)
        else
          n, state, until_ = fixed(now, limit, per, cost, times, forced, receipt, (a or 0) + 0, (b or 0) + 0)
        end
      end
      if before and not after then
        granted = -1 -- that is no state
      elseif state then
        changed = true
        if not before and done ~= '' then -- one more, beside others
          several, untidy = several or fresh, untidy or not several and not fresh
        end
        untidy = untidy or cost < 0 or #text > 8192
        last = max(last, until_)
        done = done .. name .. state .. ';'
      elseif before then
        done = done .. sub(text, cursor, after - 1)
      end
      cursor = after or cursor
      if n < granted and letter > 90 then -- upper case is a shadow, which denies nothing
        granted = min(granted, max(n, 0))
      end
      denied = denied or n < times and letter > 98
    end
    if struck and granted == 0 then write(KEYS[key], struck, 0, false, true) end
    at = at + 1 + 6 * quotas
    text = done .. sub(text, cursor)
    if not changed then -- or there is nothing to write
    elseif subjects == 1 then
      if granted > 0 then write(KEYS[key], text, last, several, untidy) end
    else
      pending = pending or {}
      pending[#pending + 1] = {KEYS[key], text, last, several, untidy}
    end
  end
  if pending and granted > 0 then
    for _, change in ipairs(pending) do write(unpack(change)) end
  end
  reply[place] = granted
end
return table.concat(reply, ' ')
