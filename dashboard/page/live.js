// The data of the page: the whole history at first, and then each second.
export const shownSeconds = 300, interval = 10, intervals = 360, mean = 10;
const secondsKept = shownSeconds + mean;
export const outcome = { allowed: 0, rejected: 1, shadowed: 2, skipped: 3, undecided: 4, banned: 5 };
const none = [0, 0, 0, 0, 0, 0], noLatency = [0, 0];

export const state = { at: 0, since: 0, rows: [], series: new Map(), backend: null, rejected: { list: [] }, closest: [], config: null, keys: [] };

// requests and rejected read an array that is indexed by outcome.
export const requests = of => of.reduce((sum, n) => sum + n, 0);
export const rejected = of => of[outcome.rejected] + of[outcome.banned];

// push appends a place to a history of fixed length, and empty places for missed ones.
function push(list, value, missed, empty, size) {
  for (let i = 0; i < Math.min(missed, size); i++) list.push(empty);
  list.push(value);
  list.splice(0, list.length - size);
}

const filled = (size, empty, list) => list ? list : new Array(size).fill(empty);
const lastInterval = at => Math.floor((at + 1) / interval) - 1;

function take(next, whole) {
  if (!whole && next.at <= state.at) return;
  const missed = next.at - state.at - 1;
  const fresh = lastInterval(next.at) - lastInterval(state.at); // mostly 0
  const keep = (now, known, [second, hour], empty, size) => {
    now.seconds = whole || !known ? filled(size, empty, now.seconds) : known.seconds;
    now.hour = whole || !known ? filled(intervals, empty, now.hour) : known.hour;
    if (whole) return;
    push(now.seconds, second, missed, empty, size);
    if (fresh) push(now.hour, hour, fresh - 1, empty, intervals);
  };
  const series = new Map();
  for (const one of next.series) {
    keep(one, state.series.get(one.id), [one.second, one.interval], none, secondsKept);
    series.set(one.id, one);
  }
  keep(next.backend, state.backend, [next.backend.latency, next.backend.interval], noLatency, shownSeconds);
  const { at, since, instance, status, totals, rows, backend, rejected, closest } = next;
  Object.assign(state, { at, since, instance, status, totals, rows, series, backend, rejected, closest });
  if (next.config) Object.assign(state, { config: next.config, keys: next.keys || [] });
}

// connect follows the application while the page is visible. The browser reconnects by
// itself; if the application refuses, the page finds out why and tries again.
export function connect(update, report) {
  let source, boot, again;
  const hear = whole => event => {
    const next = JSON.parse(event.data);
    // The application was restarted, or its clock was set back.
    if (boot && next.boot !== boot || next.at < state.at - 10) return location.reload();
    boot = next.boot;
    if (!whole && !state.backend) return;
    take(next, whole);
    report("live");
    update();
  };
  function open() {
    clearTimeout(again);
    source = new EventSource(here("events"));
    source.addEventListener("history", hear(true));
    source.addEventListener("second", hear(false));
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED) return report("reconnecting");
      clearTimeout(again);
      again = setTimeout(open, 10000);
      report("disconnected", await reason());
    };
  }
  document.addEventListener("visibilitychange", () => {
    source.close();
    clearTimeout(again);
    if (document.hidden) report("paused");
    else open();
  });
  open();
}

// here is an address next to the page. A relative address would contain the user name and
// password that the page may have been opened with, which fetch does not allow.
export const here = name => new URL(name, location.origin + location.pathname).href;

async function reason() {
  const stop = new AbortController();
  try {
    const answer = await fetch(here("events"), { signal: stop.signal });
    if (answer.ok) return "The connection was lost.";
    const text = await answer.text();
    return answer.status === 503 ? text : "The application responds with status " + answer.status + ". Your login may have expired: reload the page.";
  } catch {
    return "The application does not respond.";
  } finally {
    stop.abort();
  }
}
