import { state, outcome, rate, connect } from "./live.js";
import { span, limitChart, backendChart, drop } from "./charts.js";
import { make, id, text, number, percent, sums, health, clients, numbers, config } from "./tables.js";
import { ask } from "./lookup.js";

const firstRoutes = 24;
const cards = new Map(); // by route
const views = new Map(); // by the id of a limit
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const view = [...views.values()].find(one => one.plot === entry.target);
    if (view) { view.visible = entry.isIntersecting; if (view.visible) draw(view); }
  }
}, { rootMargin: "200px" });
let showAll = false;

// sorted are the limits by route, a shadow right after those that are enforced, and those
// that all routes share last.
function sorted() {
  const shared = limit => limit.name.startsWith("application-");
  const path = route => route.replace(/^\S+ /, "");
  return [...state.limits.values()].sort((a, b) =>
    (a.id === 0) - (b.id === 0) || path(a.route).localeCompare(path(b.route)) || a.route.localeCompare(b.route) || shared(a) - shared(b) || !!a.shadow - !!b.shadow || a.id - b.id);
}

function addView(limit) {
  const view = { id: limit.id, visible: false, hover: null };
  view.now = make("span", { class: "soft" });
  view.limit = make("span", { class: "mono" });
  view.foot = make("p", { class: "limit-foot" });
  view.plot = make("div", { class: "plot", role: "img" });
  view.root = make("div", { class: "limit", "data-limit": limit.name, "data-shadow": String(!!limit.shadow) },
    make("div", { class: "limit-head" }, make("h4", null, limit.name), view.limit,
      limit.shadow ? make("span", { class: "tag", title: "It is counted and rejects nobody" }, "shadow") : "", view.now),
    view.plot, view.foot);
  views.set(limit.id, view);
  return view;
}

function card(route) {
  let found = cards.get(route);
  if (!found) {
    found = make("article", { class: "card", "data-route": route }, make("h3", null, route));
    cards.set(route, found);
  }
  return found;
}

// layout puts a card for each route, and removes what is forgotten.
function layout(limits) {
  for (const [gone, view] of views) {
    if (state.limits.has(gone)) continue;
    seen.unobserve(view.plot);
    drop(view.plot);
    view.root.remove();
    views.delete(gone);
  }
  for (const [route, found] of cards) if (!limits.some(one => one.route === route)) { found.remove(); cards.delete(route); }
  const wanted = id("filter").value.trim().toLowerCase();
  let last = null, shown = 0, left = 0;
  for (const limit of limits) {
    const home = card(limit.route);
    if (!views.has(limit.id)) {
      const view = addView(limit), after = limits.filter(one => one.route === limit.route);
      const next = after.slice(after.indexOf(limit) + 1).map(one => views.get(one.id)).find(Boolean);
      home.insertBefore(view.root, next ? next.root : null);
      seen.observe(view.plot);
    }
    if (home === last) continue;
    const expected = last ? last.nextSibling : id("cards").firstChild;
    if (expected !== home) id("cards").insertBefore(home, expected);
    const fits = !wanted || limits.some(one => one.route === limit.route && (one.route + " " + one.name).toLowerCase().includes(wanted));
    home.hidden = !fits || (!showAll && !wanted && shown >= firstRoutes);
    if (fits && home.hidden) left++;
    if (!home.hidden) shown++;
    last = home;
  }
  id("filter").hidden = cards.size <= 8;
  id("more").hidden = left === 0;
  text("more", "Show " + left + " more");
  id("empty").hidden = limits.length > 0;
}

const words = [["allowed", "allowed"], ["rejected", "rejected"], ["shadowed", "over it"], ["banned", "banned"], ["undecided", "not decided"]];

function readout(view) {
  const limit = state.limits.get(view.id);
  const list = span.hour ? limit.quarters : limit.seconds, per = span.hour ? 15 : 1;
  const at = view.hover;
  const value = which => at === null ? rate(limit, which) : list[at][which] / per;
  const parts = words.map(([name, word]) => [value(outcome[name]), word, name]).filter(([v, , name]) => v > 0 || name === "allowed");
  const said = parts.map(([v, word]) => number(v) + " " + word).join(" · ") + " /s";
  if (view.now.textContent !== said) view.now.textContent = said;
  view.limit.textContent = (limit.limit || "") + (limit.varies ? ", varies" : "");
  const spoken = limit.name + " on " + limit.route + ", now per second: " + said;
  if (view.plot.getAttribute("aria-label") !== spoken) view.plot.setAttribute("aria-label", spoken);
  const near = state.closest.find(one => one.limit_id === limit.id);
  view.foot.textContent = near ? "closest: " + near.scope + " has used " + percent(near.share) : "";
}

function draw(view) {
  limitChart(view.plot, () => state.limits.get(view.id), index => {
    view.hover = index === undefined ? null : index;
    if (state.limits.has(view.id)) readout(view);
  });
}

function update() {
  const limits = sorted();
  layout(limits);
  for (const view of views.values()) {
    readout(view);
    if (view.visible && view.plot.clientWidth) draw(view);
  }
  backendChart(id("backend-chart"));
  sums();
  health();
  clients(ask);
  numbers(limits);
  config();
  document.body.dataset.at = state.at;
}

// say tells how the connection is, and hides nothing of what was there before.
function say(word, why) {
  const texts = { live: "live", reconnecting: "connecting again …", paused: "paused", rejected: "not connected" };
  text("live", texts[word]);
  id("trouble").hidden = word !== "rejected";
  if (word !== "rejected") return;
  text("trouble", why);
  if (!state.backend) text("state-text", "Not connected");
}

for (const choice of document.querySelectorAll("input[name=span]")) {
  choice.addEventListener("change", () => { span.hour = choice.value === "hour"; if (state.backend) update(); });
}
id("filter").addEventListener("input", () => state.backend && update());
id("more").addEventListener("click", () => { showAll = true; update(); });
connect(update, say);
