-- Makes plain decisions: each charges one limit on a key that holds nothing else. The
-- script defines no function and writes as little as possible, which makes it much
-- faster than take.lua. That script documents the format of the values and decides
-- what is undecided here. Both must make the same decisions.
--
-- KEYS  one per decision, in blocks with the same arguments
-- ARGV  8 values per block: the number of decisions, how many times each of them is
--       requested, the name of the limit with =, the limit, and
--       s, f  the period, the cost, 0, 0
--       t     the price of the cost (µs, and a rest in 1/limit µs), and the capacity
--             of the bucket in the same form
-- Returns words separated by spaces: the seconds and microseconds of the time; for
-- each decision how many times it was granted, and the previous value of its key.
-- If a decision is not plain, it was granted "-" times and nothing was charged.

local call, pcall, match, floor, ceil = redis.call, redis.pcall, string.match, math.floor, math.ceil
local EXACT = 9007199254740992 -- 2^53
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reply, words, key = {clock[1], clock[2]}, 2, 0

for at = 1, #ARGV, 8 do
  local last, times, name, limit = key + ARGV[at], ARGV[at + 1] + 0, ARGV[at + 2], ARGV[at + 3] + 0
  local step, step_rest, full, full_rest = ARGV[at + 4] + 0, ARGV[at + 5] + 0, ARGV[at + 6] + 0, ARGV[at + 7] + 0
  local per, cost = step, step_rest -- unless it is a bucket
  local bucket, sliding = string.byte(name) == 116, string.byte(name) == 115 -- t, s
  local pattern = '^' .. name .. (sliding and '(%d+),(%d+),(%d+),;$' or '(%d+),(%d+),;$')
  local start, least = bucket or now - now % per, sliding and 2 or 1
  local offset, offset_text, start_text

  for i = key + 1, last do
    local text, n, a, b, c = pcall('GET', KEYS[i]), nil, '0', '0', '0'
    if not text then
      text = ''
    elseif text.err then
      a = nil
    else
      a, b, c = match(text, pattern)
    end

    if not a then -- not plain
    elseif bucket then
      local debt, rest = a - now, b + 0
      if rest > 0 and rest >= limit then debt, rest = debt + 1, 0 end
      if debt < 0 then debt, rest = 0, 0 end
      local room, room_rest = full - debt, full_rest - rest
      if room_rest < 0 then room, room_rest = room - 1, room_rest + limit end
      if room < step or room == step and room_rest < step_rest then
        n = 0
      elseif times == 1 then
        n, debt, rest = 1, debt + step, rest + step_rest
      elseif room * limit + room_rest < EXACT then
        local price = step * limit + step_rest
        n = floor((room * limit + room_rest) / price)
        n = n > times and times or n
        local micros = floor(n * price / limit)
        debt, rest = debt + micros, rest + n * price - micros * limit
      end
      if n and n > 0 then
        if rest >= limit then debt, rest = debt + 1, rest - limit end
        local tat = string.format('%d', now + debt)
        if tat + 0 ~= now + debt then tat = string.format('%.0f', now + debt) end -- the server's long has 32 bits
        call('SET', KEYS[i], name .. tat .. ',' .. rest .. ',;', 'PX', ceil((rest > 0 and debt + 1 or debt) / 1000) .. '')
      end

    else
      c = c or b -- of a fixed window
      local begins, previous, current, weight = a + 0, 0, c + 0, per - 1
      local same = start <= begins -- or earlier, if the clock ran backwards
      if not same then
        if sliding and begins + per == start then previous = current end
        begins, current, weight = start, 0, weight + start - now
      elseif sliding and b ~= '0' then
        previous = b + 0
        if now > begins then weight = weight + begins - now end
      end
      local weighed = previous * weight
      if weighed < EXACT then
        n = floor((limit - current - (weighed > 0 and floor(weighed / per) or 0)) / cost)
        n = n > times and times or n < 0 and 0 or n
      end
      if n and n > 0 then
        local after = (current + n * cost) .. ''
        if same and #after == #c and current >= least then -- the expiry does not change
          local before = #text - #c - 2
          if before ~= offset then offset, offset_text = before, before .. '' end
          call('SETRANGE', KEYS[i], offset_text, after)
        else
          if not same then
            start_text = start_text or string.format('%.0f', start)
            a = start_text
          end
          if sliding and (current + n * cost > 1) then begins = begins + per end
          call('SET', KEYS[i], name .. a .. ',' .. (sliding and previous .. ',' or '') .. after .. ',;',
            'PX', ceil((begins + per - now) / 1000) .. '')
        end
      end
    end

    words = words + 2
    reply[words - 1], reply[words] = n == 1 and '1' or n == 0 and '0' or n or '-', n and text or ''
  end
  key = last
end
return table.concat(reply, ' ')
