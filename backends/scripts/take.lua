-- Makes decisions in order. Each of them charges all its quotas, or none of them if
-- an enforced one denies.
--
-- KEYS  one per pair of key and scope, in the order of use
-- ARGV  per decision: how many times it is requested, and its number of keys;
--       per key: the number of quotas;
--       per quota 6 values: name with =, limit, period, cost, burst, and 1 for a
--       forced cost or the receipt (0 for none) of a negative one. Bans come last and
--       have their length in place of the burst; calendars have the bounds of three
--       windows there, each followed by a comma
-- Returns words separated by spaces: the seconds and microseconds of the time; for
-- each decision how many times it was granted, and the previous value of each of its
-- keys, from which the caller computes the verdicts. -1 grants mean that the value of
-- a key was not written by the rate limiter. -2 grants mean that none of the calendar
-- windows contains this server's time, and nothing was charged.
--
-- A decision that is requested several times has a single quota, which is enforced,
-- not forced, and has a positive cost.
--
-- All limits of a key are in one string, "name=state;name=state;". If there are
-- several, 16 digits at the end say when the last of them expires. A name is a letter
-- for the algorithm, in upper case for a shadow limit, and the period:
--   f60000000=start,count,             fixed-window
--   s60000000=start,previous,current,  sliding-window
--   t60000000=tat,fraction,            token-bucket
--   l60000000=time,units,time,units,   sliding-log
--   b60000000=time,units,time,units,   rejections, which lead to a ban
--   c86400000000@UTC=start,end,count,  fixed-window of a calendar, with its zone
-- Times are integer microseconds of this server's clock. All numbers stay below
-- 2^53, where Lua numbers are exact integers; larger products go through mul_div.
-- Times need string.format, which is slow; units have at most 14 digits, so they can
-- be concatenated. The arithmetic is that of internal/window.
--
-- Defining a function takes longer than most calls of it. So functions are defined
-- only when they are needed, and code with a single use is inline.

local call, find, match, sub, format, byte = redis.call, string.find, string.match, string.sub, string.format, string.byte
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local EXACT = 9007199254740992 -- 2^53
local MAX_UNITS = 17592186044415 -- 2^44 - 1
local MAX_DEBT = 4503599627370496 -- 2^52
local MAX_CELLS = 129

-- Returns floor(a * b / c) and the remainder. The slow path divides 7 bits at a time,
-- so that no step exceeds 2^53 for b and c below 2^45.
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

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply, words = {clock[1], clock[2]}, 2
local number -- a format; %d is faster, but truncates if the server's long has 32 bits
local live_cells, share_cell, add_units, encode_cells -- for logs; defined for the first one

local done = {}
local at, stop, key = 1, #ARGV, 0
while at < stop do
  local times, subjects = ARGV[at] + 0, ARGV[at + 1] + 0
  local granted, place = times, words + 1
  local changes, rejections -- what to write if granted, and if denied
  words = place
  at = at + 2
  for _ = 1, subjects do
    key = key + 1
    local text, last, multiple, untidy, changed = redis.pcall('GET', KEYS[key]), 0, false, false, false
    local fresh = not text
    if fresh then
      text = ''
    elseif text.err then
      granted, text = -1, ''
    else
      if byte(text, -1) ~= 59 then -- digits instead of a semicolon
        last, multiple = byte(text, -17) == 59 and tonumber(sub(text, -16)) or -1, true
        text = sub(text, 1, -17)
        if last < 0 then granted, text = -1, '' end
      end
      if find(text, ' ', 1, true) then granted, text = -1, '' end -- it would become two words
    end
    words = words + 1
    reply[words] = text
    local denied, rejected_text = false, nil
    -- Quotas mostly come in the order of their states. done holds the pieces of the
    -- new text that replace the old one up to cursor.
    local quotas, pieces, cursor = ARGV[at] + 0, 0, 1
    for i = at + 1, at + 6 * quotas, 6 do
      local name, limit, per, cost = ARGV[i], ARGV[i + 1] + 0, ARGV[i + 2] + 0, ARGV[i + 3] + 0
      local forced, receipt = false, 0
      if ARGV[i + 5] ~= '0' then
        forced, receipt = cost > 0, cost < 0 and ARGV[i + 5] + 0 or 0
      end
      local letter, from, before = byte(name), find(text, name, cursor, true)
      if from ~= cursor then
        if not from then
          text, cursor, pieces = table.concat(done, '', 1, pieces) .. sub(text, cursor), 1, 0
          from, before = find(text, name, 1, true)
          from = from or #text + 1
        end
        pieces = pieces + 1
        done[pieces] = sub(text, cursor, from - 1)
        cursor = from
      end

      -- Each algorithm sets n, how many of the requested times it allows. If it
      -- charges, it also sets the new state and when that ends (expires). after is
      -- where the old state ends in the text.
      local n, state, ends, after = times, nil, nil, nil
      if letter == 115 or letter == 102 or letter == 83 or letter == 70 then -- s, f, S, F
        local slides = letter == 115 or letter == 83
        local a, b, c = nil, 0, 0
        if before then
          if slides then
            a, b, c, after = match(text, '^(%d+),(%d+),(%d+),;()', before + 1)
          else
            a, c, after = match(text, '^(%d+),(%d+),;()', before + 1)
          end
        end
        local begins, start, previous, current, weight = (a or 0) + 0, now - now % per, 0, (c or 0) + 0, per - 1
        if start > begins then
          if slides and begins + per == start then previous = current end
          begins, current, a, b, weight = start, 0, nil, previous, weight + start - now
        elseif slides and b ~= '0' then -- the same, or a later one if the clock ran backwards
          previous = (b or 0) + 0
          if now > begins then weight = weight + begins - now end
        end
        local left = limit - current
        if previous > 0 then
          if previous * weight < EXACT then
            left = left - floor(previous * weight / per)
          else
            left = left - (mul_div(previous, weight, per))
          end
        end
        if cost > 0 then
          if not forced then n = min(times, floor(left / cost)) end
        elseif cost == 0 and left < 0 then
          n = 0
        end
        if n > 0 and cost ~= 0 then
          if receipt == 0 or receipt == begins then
            current = min(MAX_UNITS, current + cost * n)
            if current < 0 then -- the rest is from the previous window
              if receipt == 0 then previous = max(0, previous + current) end
              current, b = 0, previous
            end
          elseif receipt == begins - per then
            previous = max(0, previous + cost * n)
            b = previous
          end
          a = a or format('%.0f', begins)
          state = slides and a .. ',' .. (b or 0) .. ',' .. current .. ',' or a .. ',' .. current .. ','
          if not slides then
            ends = current > 0 and begins + per or 0
          else -- a single unit does not count in the next window
            ends = current > 1 and begins + 2 * per or (current > 0 or previous > 1) and begins + per or 0
          end
        end

      elseif letter == 116 or letter == 84 then -- t, T
        local a, b
        if before then a, b, after = match(text, '^(%d+),(%d+),;()', before + 1) end
        local debt, fraction = (a or 0) - now, (b or 0) + 0
        if fraction > 0 and fraction >= limit then debt, fraction = debt + 1, 0 end
        if debt < 0 then debt, fraction = 0, 0 end
        if limit == 0 then -- units have no price
          if cost > 0 and not forced or cost == 0 and debt + fraction > 0 then n = 0 end
        else
          local burst = ARGV[i + 4] + 0
          local full, full_fraction = per, 0
          if burst ~= 0 and burst ~= limit then full, full_fraction = mul_div(burst, per, limit) end
          if full >= MAX_DEBT then full, full_fraction = MAX_DEBT - 1, 0 end -- less than any price that saturates
          if cost >= 0 and not forced then
            local room, rest = full - debt, full_fraction - fraction
            if rest < 0 then room, rest = room - 1, rest + limit end
            if room < 0 then
              n = 0
            elseif cost > 0 then
              local units, part = mul_div(room, limit, per)
              n = min(times, floor((units + floor((part + rest) / per)) / cost))
            end
          end
          if n > 0 and cost ~= 0 then
            local step, step_fraction = mul_div(cost < 0 and -cost or cost * n, per, limit)
            if receipt ~= 0 and max(0, receipt - now) < step + (step_fraction > 0 and 1 or 0) then
              step, step_fraction = max(0, receipt - now), 0 -- the rest is paid back already
            end
            local owed, owed_fraction = debt + step, fraction + step_fraction
            if cost < 0 then owed, owed_fraction = debt - step, fraction - step_fraction end
            if owed_fraction >= limit then
              owed, owed_fraction = owed + 1, owed_fraction - limit
            elseif owed_fraction < 0 then
              owed, owed_fraction = owed - 1, owed_fraction + limit
            end
            if owed < 0 then
              owed, owed_fraction = 0, 0
            elseif cost > 0 and owed >= MAX_DEBT then
              owed, owed_fraction = max(debt, MAX_DEBT), 0
            end
            local tat = now + owed
            number = number or format('%d', EXACT) == '9007199254740992' and '%d,' or '%.0f,'
            state = format(number .. number, tat, owed_fraction)
            ends = owed_fraction > 0 and tat + 1 or tat
          end
        end

      elseif letter == 99 or letter == 67 then -- c, C
        local begins, finish, current = 0, 0, 0
        if before then
          local a, b, c
          a, b, c, after = match(text, '^(%d+),(%d+),(%d+),;()', before + 1)
          begins, finish, current = (a or 0) + 0, (b or 0) + 0, (c or 0) + 0
        end
        if finish <= now then
          begins, current = nil, 0
          for bound in string.gmatch(ARGV[i + 4], '%d+') do
            finish = bound + 0
            if finish > now then break end
            begins = finish
          end
        end
        if not begins or finish <= now then -- the window was not sent
          granted, n = -2, 0
        else
          if cost > 0 then
            if not forced then n = min(times, floor((limit - current) / cost)) end
          elseif cost == 0 and current > limit then
            n = 0
          end
          if n > 0 and cost ~= 0 and (receipt == 0 or receipt == begins) then
            current = max(0, min(MAX_UNITS, current + cost * n))
            state = format('%.0f,%.0f,', begins, finish) .. current .. ','
            ends = current > 0 and finish or 0
          end
        end

      else -- l, L, b
        if not live_cells then
          -- Returns the time that a log has reached, and its cells within the period.
          live_cells = function(per, state)
            local old, n, used = {}, 0, 0
            for time, units in string.gmatch(state, '(%d+),(%d+),') do
              n, used = n + 2, used + units
              old[n - 1], old[n] = time + 0, units + 0
            end
            local reached, first = n > 0 and old[n - 1] > now and old[n - 1] or now, 1
            while first < n and old[first] + per <= reached do used, first = used - old[first + 1], first + 2 end
            if first > 1 then old, n = {unpack(old, first, n)}, n - first + 1 end
            return reached, old, n, used
          end
          -- Reports whether charges at two times belong to the same cell.
          share_cell = function(a, b, limit, per)
            if limit <= 128 then return a == b end
            local width = ceil(per / 128)
            return floor(a / width) == floor(b / width)
          end
          -- Adds units to a log, and returns its new length.
          add_units = function(cells, n, reached, units, limit, per)
            if n > 0 and (n == 2 * MAX_CELLS or share_cell(cells[n - 1], reached, limit, per)) then
              cells[n - 1], cells[n] = reached, cells[n] + units
              return n
            end
            cells[n + 1], cells[n + 2] = reached, units
            return n + 2
          end
          number = number or format('%d', EXACT) == '9007199254740992' and '%d,' or '%.0f,'
          encode_cells = function(cells, n) return format(string.rep(number, n), unpack(cells)) end
        end
        local text_of = ''
        if before then
          text_of, after = match(text, '^([%d,]*);()', before + 1)
          text_of = text_of or ''
        end
        if letter == 98 then -- b: checks for a ban, and counts a denial towards it
          if rejected_text then -- as an earlier ban has left it
            local _, to = find(rejected_text, name, 1, true)
            text_of = to and match(rejected_text, '^[^;]*', to + 1) or ''
          end
          local reached, cells, m, used = live_cells(per, text_of)
          local rejection
          if cells[2] == MAX_UNITS then
            n = 0
          elseif denied and cost > 0 then
            if used + 1 >= limit then
              n, rejection = 0, format('%.0f,%.0f,', max(0, reached + ARGV[i + 4] - per), MAX_UNITS)
            else
              rejection = encode_cells(cells, add_units(cells, m, reached, 1, limit, per))
            end
          end
          if rejection then
            rejected_text = rejected_text or reply[words]
            local from, to = find(rejected_text, name, 1, true)
            if from then
              rejected_text = sub(rejected_text, 1, from - 1) .. name .. rejection .. sub(rejected_text, find(rejected_text, ';', to, true), -1)
            else
              rejected_text = rejected_text .. name .. rejection .. ';'
            end
          end
        else
          local reached, cells, m, used = live_cells(per, text_of)
          if cost > 0 then
            if not forced then n = min(times, floor((limit - used) / cost)) end
          elseif cost == 0 and limit - used < 0 then
            n = 0
          end
          if n > 0 and cost ~= 0 then
            local units = min(cost * n, MAX_UNITS - used)
            if units > 0 then m = add_units(cells, m, reached, units, limit, per) end
            if receipt ~= 0 then
              local j = 1
              while j < m and cells[j] < receipt do j = j + 2 end
              if j < m and receipt + per > reached and share_cell(cells[j], receipt, limit, per) then
                cells[j + 1] = cells[j + 1] + units
                if cells[j + 1] <= 0 then
                  table.remove(cells, j)
                  table.remove(cells, j)
                  m = m - 2
                end
              end
              units = 0
            end
            while cost < 0 and units < 0 and m > 0 do
              local back = min(-units, cells[m])
              units, cells[m] = units + back, cells[m] - back
              if cells[m] == 0 then
                cells[m], cells[m - 1] = nil, nil
                m = m - 2
              end
            end
            state, ends = encode_cells(cells, m), m > 0 and cells[m - 1] + per or 0
          end
        end
      end

      if before and not after then
        granted = -1 -- not a valid state
      elseif state then
        changed = true
        if not before and cursor > 1 then -- one more limit on the key
          multiple, untidy = multiple or fresh, untidy or not multiple and not fresh
        end
        untidy = untidy or cost < 0 or #text > 8192
        last = max(last, ends)
        done[pieces + 1], done[pieces + 2], done[pieces + 3] = name, state, ';'
        pieces = pieces + 3
      elseif before then
        pieces = pieces + 1
        done[pieces] = sub(text, cursor, after - 1)
      end
      cursor = after or cursor
      if n < granted and letter > 90 then -- upper case is a shadow, which never denies
        granted = min(granted, max(n, 0))
      end
      denied = denied or n < times and letter > 98
    end
    at = at + 1 + 6 * quotas
    if rejected_text then
      rejections = rejections or {}
      local m = #rejections
      rejections[m + 1], rejections[m + 2], rejections[m + 3], rejections[m + 4], rejections[m + 5] = KEYS[key], rejected_text, 0, false, true
    elseif changed and granted > 0 then
      if cursor <= #text then
        pieces = pieces + 1
        done[pieces] = sub(text, cursor)
      end
      changes = changes or {}
      local m = #changes
      changes[m + 1], changes[m + 2] = KEYS[key], table.concat(done, '', 1, pieces)
      changes[m + 3], changes[m + 4], changes[m + 5] = last, multiple, untidy
    end
  end

  local writes = granted > 0 and changes or granted == 0 and rejections
  for i = 1, writes and #writes or 0, 5 do
    local text, last, multiple = writes[i + 1], writes[i + 2], writes[i + 3]
    if writes[i + 4] then -- drop expired limits
      local kept, entries = '', 0
      last = 0
      for name, state in string.gmatch(text, '([^=]+)=([^;]*);') do
        local per, letter = match(name, '%d+') + 0, string.lower(sub(name, 1, 1))
        local a, b, c = match(state, '^(%d+),(%d+),(%d*)')
        local ends = 0
        if letter == 'l' or letter == 'b' then
          ends = (match(state, '(%d+),%d+,$') or -per) + per
        elseif not a then -- not a valid state
        elseif letter == 's' then
          local previous, current = b + 0, tonumber(c) or 0
          ends = current > 1 and a + 2 * per or (current > 0 or previous > 1) and a + per or 0
        elseif letter == 'c' then
          ends = (tonumber(c) or 0) > 0 and b + 0 or 0
        elseif letter == 't' then
          ends = a + (b + 0 > 0 and 1 or 0)
        else
          ends = a + (b + 0 > 0 and per or 0)
        end
        if ends > now then
          kept, last, entries = kept .. name .. '=' .. state .. ';', max(last, ends), entries + 1
        end
      end
      text, multiple = kept, entries > 1
    end
    if text == '' then
      call('DEL', writes[i])
    else
      if multiple then text = text .. format('%016.0f', last) end
      call('SET', writes[i], text, 'PX', ceil((last - now) / 1000) .. '')
    end
  end
  reply[place] = granted
end
return table.concat(reply, ' ')
