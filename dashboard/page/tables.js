import { state, outcome } from "./live.js";
import { make, id, text, number, percent, plural, clock, lasting, micros, held } from "./dom.js";

// fill updates the rows of a table that differ, unless somebody is in it.
function fill(body, rows) {
  if (held(body)) return;
  rows.forEach((row, i) => {
    const old = body.rows[i];
    if (!old) body.append(row);
    else if (!old.isEqualNode(row)) old.replaceWith(row);
  });
  while (body.rows.length > rows.length) body.deleteRow(-1);
}

// named is the name of a client, which looks the client up.
function named(client, ask) {
  if (!client.id) return make("span", { class: "mono" }, client.scope);
  const button = make("button", { type: "button", class: "client", "data-client": client.id, title: "Look up this client" }, client.scope);
  button.addEventListener("click", () => ask(client));
  return button;
}

function bar(share, label, more) {
  return make("meter", Object.assign({ min: 0, max: 1, value: share, "aria-label": label }, more));
}

export const used = share => [bar(share, percent(share) + " used", { low: 0.7, high: 0.9, optimum: 0 }), make("span", { class: "share" }, percent(share))];

const limitOf = client => client.name + (client.route && " on " + client.route) + (client.scope === "everyone" ? " · all clients together" : "");

export function clients(ask) {
  const found = state.rejected, since = clock(found.since, state.at), some = found.list.length > 0;
  text("rejected-since", "Since " + since + (some ? " · shares of " + plural(found.total, "rejection") : ""));
  id("rejected-empty").hidden = some;
  fill(id("rejected-list"), found.list.map(one => make("tr", null,
    make("td", null, named(one, ask), one.banned ? " " : "", one.banned ? make("span", { class: "tag ban" }, "banned") : "",
      make("small", null, limitOf(one))),
    make("td", null, (one.at_least ? "≥ " : "") + number(one.count) + " · " + percent(one.count / found.total)))));
  id("closest-empty").hidden = state.closest.length > 0;
  fill(id("closest-list"), state.closest.map(one => make("tr", null,
    make("td", null, named(one, ask), one.shadow ? " " : "", one.shadow ? make("span", { class: "tag" }, "shadow") : "",
      make("small", null, number(one.remaining) + " of " + number(one.limit) + " left · " + limitOf(one))),
    make("td", null, ...used(one.share)))));
}

export function totals() {
  const { requests, rejected, shadowed, undecided } = state.totals, found = state.rejected, shadows = state.rows.filter(row => row.shadow).length;
  text("sum-rejected", number(rejected));
  id("sum-rejected").classList.toggle("over", rejected > 0);
  text("sum-requests", number(requests));
  text("sum-share", rejected > 0 ? percent(rejected / requests) + " " : "");
  text("sum-undecided", undecided > 0 ? ", " + number(undecided) + "/s undecided" : "");
  text("sum-clients", (found.more ? "≥ " : "") + number(found.clients));
  text("sum-rejections", (found.total ? plural(found.total, "rejection") + " " : "") + "since " + clock(found.since, state.at));
  text("sum-shadowed", number(shadowed));
  text("sum-shadows", shadows ? "not rejected · " + plural(shadows, "shadow limit") : "no shadow limits");
  const [p50, p99] = state.backend.latency;
  text("sum-p50", p99 > 0 ? micros(p50) : "–");
  text("sum-p99", p99 > 0 ? micros(p99) : "–");
}

export function status() {
  const { level, word, what, since, then } = state.status, line = id("status");
  line.dataset.level = level;
  text("status", word + " · " + what + (since ? " since " + clock(since, state.at) : "") + (then ? ", " + then : ""));
  document.title = (level === "bad" || level === "warn" ? "⚠ " : "") + "Rate limits";
  const { host, pid, started } = state.instance;
  text("instance", (host ? host + " · " : "") + "pid " + pid + " · up " + lasting(Math.max(0, state.at + 1 - started)));
}

export function facts() {
  const backend = state.backend, list = [];
  const fact = (name, value, more) => list.push(make("div", more, make("dt", null, name), make("dd", more && { class: "mono" }, value)));
  if (backend.address) fact("Address", backend.address, { class: "whole" });
  if (!backend.local) {
    fact("Circuit breaker", backend.open ? "open since " + clock(state.status.since, state.at) : "closed");
    fact("Decided in memory instead", number(backend.fallbacks) + "/s");
    fact("Unavailable, in total", lasting(backend.down));
    fact("Failed calls", number(backend.failures));
    fact("Denied without a call", number(backend.cached_denials));
  }
  fact("Counters in this process", number(backend.counters));
  fact("Evicted counters", number(backend.evictions));
  if (backend.observer_panics) fact("Observer panics", number(backend.observer_panics));
  if (backend.outages.length) {
    const shown = backend.outages.slice(-5).reverse().map(one => {
      const ongoing = one.to >= state.at - 1 && state.status.since;
      return clock(one.from, state.at, true) + (ongoing ? ", ongoing" : "–" + clock(one.to + 1, state.at, true)) + " (" + lasting(one.to + 1 - one.from) + ")";
    });
    fact(plural(backend.outages.length, "outage") + " in the last hour", shown.join(" · "), { class: "whole" });
  }
  if (backend.error) fact(backend.open ? "Error" : "Last error", backend.error, { class: "whole" });
  id("facts").replaceChildren(...list);
}

let shownConfig;
export function config() {
  if (state.config === shownConfig) return;
  shownConfig = state.config;
  const value = v => v !== null && typeof v === "object" ? Object.entries(v).map(([key, one]) => key + ": " + (Array.isArray(one) ? one.join(", ") : one)).join("; ") || "–" : v === "" ? "–" : String(v);
  id("config").replaceChildren(...Object.entries(state.config || {}).map(([name, v]) =>
    make("div", null, make("dt", null, name.replace(/^RATELIMITER_/, "")), make("dd", null, value(v)))));
  id("keys").replaceChildren(...state.keys.map(key => make("option", { value: key })));
}
