// What the application has told: all of the past at first, then each second.
export const minutes = 300, quarters = 240, quarter = 15;
export const outcome = { allowed: 0, rejected: 1, shadowed: 2, skipped: 3, undecided: 4, banned: 5 };
const none = [0, 0, 0, 0, 0, 0];

export const state = { at: 0, limits: new Map(), backend: null, rejected: { list: [] }, closest: [], config: null, keys: [] };

// push adds a place to a series of fixed length, and empty ones for what was missed.
function push(list, value, missed, empty, size) {
  for (let i = 0; i < Math.min(missed, size); i++) list.push(empty);
  list.push(value);
  list.splice(0, list.length - size);
}

function filled(size, empty, list) {
  return list ? list.slice() : new Array(size).fill(empty);
}

const lastQuarter = at => Math.floor((at + 1) / quarter) - 1;

function take(told, whole) {
  if (!whole && told.at <= state.at) return;
  const missed = told.at - state.at - 1;
  const newQuarters = lastQuarter(told.at) - lastQuarter(state.at); // mostly none
  const limits = new Map();
  for (const limit of told.limits) {
    const known = state.limits.get(limit.id);
    if (whole || !known) {
      limit.seconds = filled(minutes, none, limit.seconds);
      limit.quarters = filled(quarters, none, limit.quarters);
    } else {
      limit.seconds = known.seconds;
      limit.quarters = known.quarters;
    }
    if (!whole) {
      push(limit.seconds, limit.second, missed, none, minutes);
      if (newQuarters) push(limit.quarters, limit.quarter, newQuarters - 1, none, quarters);
    }
    limits.set(limit.id, limit);
  }
  const backend = told.backend, before = state.backend;
  if (whole) {
    backend.seconds = filled(minutes, [0, 0, 0], backend.seconds);
    backend.quarters = filled(quarters, [0, 0, 0], backend.quarters);
  } else {
    backend.seconds = before.seconds;
    backend.quarters = before.quarters;
    push(backend.seconds, backend.second, missed, [0, 0, 0], minutes);
    if (newQuarters) push(backend.quarters, backend.quarter, newQuarters - 1, [0, 0, 0], quarters);
  }
  Object.assign(state, { at: told.at, limits, backend, rejected: told.rejected, closest: told.closest });
  if (told.config) Object.assign(state, { config: told.config, keys: told.keys || [] });
}

// rate is how many of an outcome there were in a second, over the last five.
export function rate(limit, which) {
  return limit.seconds.slice(-5).reduce((sum, one) => sum + one[which], 0) / 5;
}

export function sum(list, ...which) {
  return list.reduce((all, one) => all + which.reduce((some, i) => some + one[i], 0), 0);
}

// hour is how many of these outcomes there were in an hour, this very second included.
export function hour(limit, ...which) {
  const fresh = (state.at + 1) % quarter;
  return sum(limit.quarters, ...which) + (fresh ? sum(limit.seconds.slice(-fresh), ...which) : 0);
}

// connect follows the application while the page can be seen. The browser comes back by
// itself where a connection ends; where it was rejected, we look why and try again.
export function connect(update, say) {
  let source, boot, again;
  const hear = whole => event => {
    const told = JSON.parse(event.data);
    // The application was restarted, or its clock was set back.
    if (boot && told.boot !== boot || told.at < state.at - 10) return location.reload();
    boot = told.boot;
    if (!whole && !state.backend) return;
    take(told, whole);
    say("live");
    update();
  };
  function open() {
    clearTimeout(again);
    source = new EventSource(here("events"));
    source.addEventListener("history", hear(true));
    source.addEventListener("second", hear(false));
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED) return say("reconnecting");
      clearTimeout(again);
      again = setTimeout(open, 10000);
      say("rejected", await reason());
    };
  }
  document.addEventListener("visibilitychange", () => {
    source.close();
    clearTimeout(again);
    if (document.hidden) say("paused");
    else open();
  });
  open();
}

// here is an address beside the page. One that is relative would hold the name and
// password of a page that was opened with them, which fetch rejects.
export const here = name => new URL(name, location.origin + location.pathname).href;

async function reason() {
  const stop = new AbortController();
  try {
    const answer = await fetch(here("events"), { signal: stop.signal });
    if (answer.ok) return "The connection was lost.";
    const text = await answer.text();
    return answer.status === 503 ? text : "The application answers " + answer.status + ". The login may be over: load the page again.";
  } catch {
    return "The application does not answer.";
  } finally {
    stop.abort();
  }
}
