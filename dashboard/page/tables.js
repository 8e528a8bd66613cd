import { state, outcome, rate, sum, hour } from "./live.js";
import { duration } from "./charts.js";

// make builds an element. Texts are only ever set as texts.
export function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return element;
}

export const id = name => document.getElementById(name);
export const text = (name, value) => { const at = id(name); if (at.textContent !== String(value)) at.textContent = value; };
export const clock = unix => new Date(unix * 1000).toLocaleTimeString("en-GB");
export const number = v => v.toLocaleString("en", { maximumFractionDigits: v < 10 ? 1 : 0 });
export const percent = share => (share > 0.99 && share < 1 ? ">99" : share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)) + "\u00a0%";

// fill changes the rows of a table that are not as they should be, but nothing under the
// hands of somebody who is in it.
function fill(body, rows) {
  if (body.matches(":hover, :focus-within")) return;
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
  const button = make("button", { type: "button", class: "client", "data-client": client.id, title: "Look this client up" }, client.scope);
  button.addEventListener("click", () => ask(client));
  return button;
}

function bar(share) {
  return make("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, value: share, "aria-label": percent(share) + " used" });
}

export const used = share => [bar(share), make("span", { class: "share" }, percent(share))];

export function clients(ask) {
  text("rejected-since", clock(state.rejected.since));
  id("rejected-empty").hidden = state.rejected.list.length > 0;
  fill(id("rejected"), state.rejected.list.map(one => make("tr", null,
    make("td", null, named(one, ask), one.banned ? " " : "", one.banned ? make("span", { class: "tag ban" }, "banned") : "",
      make("small", null, (one.name ? one.name + " on " : "") + one.route)),
    make("td", null, (one.at_least ? "≥ " : "") + number(one.count)))));
  id("near-empty").hidden = state.closest.length > 0;
  fill(id("near"), state.closest.map(one => {
    const limit = state.limits.get(one.limit_id);
    return make("tr", null,
      make("td", null, named(one, ask), limit && limit.shadow ? " " : "", limit && limit.shadow ? make("span", { class: "tag" }, "shadow") : "",
        make("small", null, limit ? limit.name + " on " + limit.route : "")),
      make("td", { title: number(one.remaining) + " of " + number(one.limit) + " left" }, ...used(one.share)));
  }));
}

export function numbers(limits) {
  const over = [outcome.rejected, outcome.shadowed, outcome.banned];
  fill(id("numbers"), limits.map(limit => {
    const five = sum(limit.seconds, ...over), met = five + sum(limit.seconds, outcome.allowed);
    return make("tr", null,
      make("td", { class: "mono" }, limit.route),
      make("td", null, limit.name + (limit.limit ? " · " + limit.limit : "") + (limit.varies ? ", varies" : "")),
      make("td", null, limit.shadow ? make("span", { class: "tag" }, "shadow") : "enforced"),
      make("td", null, number(rate(limit, outcome.allowed))),
      make("td", null, number(rate(limit, outcome.rejected) + rate(limit, outcome.banned))),
      make("td", null, met ? percent(five / met) : "–"),
      make("td", null, number(hour(limit, outcome.allowed))),
      make("td", null, number(hour(limit, ...over))),
      make("td", null, number(hour(limit, outcome.skipped))),
      make("td", null, number(hour(limit, outcome.undecided))));
  }));
}

export function sums() {
  const limits = [...state.limits.values()];
  const rates = (...which) => number(limits.reduce((all, limit) => all + which.reduce((some, i) => some + rate(limit, i), 0), 0));
  text("sum-decisions", rates(outcome.allowed, outcome.rejected, outcome.shadowed, outcome.undecided, outcome.banned));
  text("sum-rejected", rates(outcome.rejected, outcome.banned));
  text("sum-shadowed", rates(outcome.shadowed));
  const asked = state.backend.seconds.findLast(one => one[1] > 0); // where nobody asks, the last answers
  text("sum-median", asked ? duration(asked[0]) : "–");
  text("sum-p99", asked ? duration(asked[1]) : "–");
}

export function health() {
  const backend = state.backend, pill = id("state");
  pill.dataset.word = backend.word;
  text("state-text", backend.text + (backend.since ? " Since " + clock(backend.since) + "." : ""));
  document.title = backend.word === "away" ? "! Rate limits" : "Rate limits";
  const here = backend.word === "here";
  const facts = [
    ["counters in this process", number(backend.remembered)],
    ["evicted for want of room", number(backend.evictions)],
  ];
  if (!here) facts.unshift(
    ["breaker", backend.word === "away" ? "open since " + clock(backend.since) : "closed"],
    ["decided by this process", number(backend.seconds.slice(-5).reduce((all, one) => all + one[2], 0) / 5) + " /s"],
    ["away, in all", number(backend.down) + " s"],
    ["questions failed", number(backend.failures)],
    ["denied without asking", number(backend.cached_denials)]);
  if (backend.observer_panics) facts.push(["panics of observers", number(backend.observer_panics)]);
  const list = facts.map(([name, value]) => make("div", null, make("dt", null, name), make("dd", null, value)));
  if (backend.error) list.push(make("div", { class: "whole" }, make("dt", null, backend.word === "away" ? "it fails with" : "it has last failed with"), make("dd", { class: "mono" }, backend.error)));
  id("facts").replaceChildren(...list);
}

let shownConfig;
export function config() {
  if (state.config === shownConfig) return;
  shownConfig = state.config;
  const value = v => v !== null && typeof v === "object" ? JSON.stringify(v) : v === "" ? "–" : String(v);
  id("config").replaceChildren(...Object.entries(state.config || {}).map(([name, v]) =>
    make("tr", null, make("td", null, name.replace(/^RATELIMITER_/, "")), make("td", null, value(v)))));
  id("keys").replaceChildren(...state.keys.map(key => make("option", { value: key })));
}
