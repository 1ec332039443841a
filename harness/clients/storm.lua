-- For wrk, with one thread: asks once with each line of a file as the body, and says what came back, as one JSON line.
-- Arguments: the file, and of how many requests in a hundred the connection is closed. Bodies never leave this process
-- but for the server; of what came back only refusals are told, which hold no secret.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds, micros; } rehearsal_time;
  int gettimeofday(rehearsal_time *, void *);
  int getpid(void);
  int kill(int, int);
]]

local HOUR, LONGEST, SIGINT = 3600000, 400, 2
local bodies, close = {}, 100
local verified, handed, reserved, answered = false, 0, 0, 0
local workers = {}
-- of the thread that asks, for `done`, which is another Lua
first, last, statuses, said = 0, 0, {}, {}

local function now()
  local time = ffi.new("rehearsal_time")
  ffi.C.gettimeofday(time, nil)
  return tonumber(time.seconds) + tonumber(time.micros) / 1000000
end

function setup(thread)
  table.insert(workers, thread)
end

function init(arguments)
  close = tonumber(arguments[2])
  for line in io.lines(arguments[1]) do
    table.insert(bodies, line)
  end
end

-- wrk has no end but a time: whoever comes after the last body waits longer than that
function delay()
  if handed + reserved >= #bodies then
    return HOUR
  end
  reserved = reserved + 1
  return 0
end

function request()
  if not verified then
    -- wrk looks at one before it begins, and sends it to nobody
    verified = true
    return wrk.format("POST", nil, {}, bodies[1])
  end
  if first == 0 then
    first = now()
  end
  reserved = math.max(0, reserved - 1)
  handed = handed + 1
  local headers = { ["Content-Type"] = "application/json" }
  if math.floor(handed * close / 100) > math.floor((handed - 1) * close / 100) then
    headers["Connection"] = "close"
  end
  -- one whose connection broke is asked again, with the last body at the worst
  return wrk.format("POST", nil, headers, bodies[math.min(handed, #bodies)])
end

function response(status, headers, body)
  answered, last = answered + 1, now()
  local word = tostring(status)
  statuses[word] = (statuses[word] or 0) + 1
  if status >= 300 and not said[word] then
    said[word] = string.sub(body, 1, LONGEST)
  end
  if answered == #bodies then
    ffi.C.kill(ffi.C.getpid(), SIGINT)
  end
end

local function quoted(text)
  local plain = string.gsub(text, "[%c\127-\255]", " ")
  return '"' .. string.gsub(plain, '[\\"]', "\\%0") .. '"'
end

local function object(values, written)
  local parts = {}
  for name, value in pairs(values) do
    table.insert(parts, quoted(name) .. ": " .. written(value))
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function done(summary, latency, requests)
  local worker = workers[1]
  local times = { p50 = latency:percentile(50), p95 = latency:percentile(95), p99 = latency:percentile(99) }
  times.max = latency.max
  io.write(object({
    statuses = object(worker:get("statuses"), tostring),
    said = object(worker:get("said"), quoted),
    seconds = string.format("%.3f", worker:get("last") - worker:get("first")),
    micros = object(times, tostring),
  }, tostring), "\n")
end
