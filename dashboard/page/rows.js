import { state, outcome, requests, rejected, mean } from "./live.js";
import { span, times, rates, limitChart, drop } from "./charts.js";
import { make, id, put, text, number, percent, plural, clock, held } from "./dom.js";

const firstRows = 24;
const views = new Map(); // by the id of a row
const visible = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const view = [...views.values()].find(one => one.plot === entry.target);
    if (view) { view.visible = entry.isIntersecting; if (view.visible) draw(view); }
  }
}, { rootMargin: "200px" });
let showAll = false;

const kinds = { application: "application limit", shared: "shared key", calls: "outside requests", other: "further limits, counted together" };

function title(row) {
  if (row.kind === "application") return "Application limit";
  if (row.kind === "calls") return row.title || "RateLimiter.Take";
  return row.kind === "other" ? "Other limits" : row.title;
}

// meaning is what the limit is: "100/minute for each client".
function meaning(row) {
  if (row.kind === "other") return kinds.other;
  if (!row.limit) return "no decision yet";
  const limit = row.limit.replace(/^\d+/, n => number(+n) + (row.units ? " units" : ""));
  return limit + (row.varies ? " (varies)" : "") + (row.global ? " for all clients together" : " for each client");
}

function addView(row) {
  const view = { id: row.id, visible: false, hover: null };
  view.meaning = make("p");
  view.main = make("p", { class: "main" });
  view.of = make("p");
  view.rest = make("p", { class: "small" });
  view.when = make("p", { class: "small" });
  view.routes = make("details", { hidden: true }, view.summary = make("summary"), view.list = make("ul"));
  view.plot = make("div", { class: "plot", role: "img" });
  const mono = row.kind === "route" || row.kind === "shared" || row.kind === "calls";
  view.title = make("h3", mono && { class: "mono" });
  view.root = make("article", { class: "row", "data-id": row.id, "data-kind": row.kind, "data-limit": row.name, "data-shadow": String(!!row.shadow) },
    make("div", { class: "what" }, view.title, view.meaning,
      view.name = make("p")),
    make("div", { class: "rates" }, view.main, view.of, view.rest, view.when),
    view.plot, view.routes);
  views.set(row.id, view);
  visible.observe(view.plot);
  return view;
}

// layout puts the rows in order and removes those that are gone. It keeps the order while
// somebody points at a row.
function layout() {
  for (const [gone, view] of views) {
    if (state.rows.some(row => row.id === gone)) continue;
    visible.unobserve(view.plot);
    drop(view.plot);
    view.root.remove();
    views.delete(gone);
  }
  const home = id("rows"), keep = held(home);
  const wanted = id("filter").value.trim().toLowerCase();
  let last = null, shown = 0, left = 0;
  for (const row of state.rows) {
    const known = views.get(row.id), view = known || addView(row);
    const expected = last ? last.nextSibling : home.firstChild;
    if (!known || !keep && expected !== view.root) home.insertBefore(view.root, known || !keep ? expected : null);
    last = view.root;
    const fits = !wanted || [title(row), row.name, ...routes(row)].join(" ").toLowerCase().includes(wanted);
    view.root.hidden = !fits || (!showAll && !wanted && shown >= firstRows);
    if (fits && view.root.hidden) left++;
    if (!view.root.hidden) shown++;
  }
  id("filter").hidden = state.rows.length <= 8;
  id("more").hidden = left === 0;
  text("more", "Show " + left + " more");
  id("empty").hidden = state.rows.length > 0;
}

const routes = row => row.series.map(one => state.series.get(one)?.route || "");

// describe writes what the limit is.
function describe(view, row) {
  put(view.title, title(row));
  put(view.meaning, meaning(row));
  const note = row.kind === "shared" || row.kind === "calls" ? kinds[row.kind] + " · " : "";
  const key = row.name + row.shadow + note;
  if (view.named !== key) {
    view.named = key;
    view.name.replaceChildren(note, make("code", null, row.name), row.shadow ? " " : "", row.shadow ? make("span", { class: "tag", title: "It counts and rejects no request" }, "shadow") : "");
  }
  view.routes.hidden = row.kind !== "application" && row.kind !== "shared";
  if (view.routes.hidden) return;
  put(view.summary, plural(row.series.length, "route"));
  if (view.routes.open) view.list.replaceChildren(...byRoute(row));
}

// byRoute lists the routes of a shared limit, those with the most rejections first.
function byRoute(row) {
  const sums = row.series.map(one => state.series.get(one)).filter(Boolean).map(one => {
    const sum = one.seconds.slice(-mean).reduce((all, counts) => all.map((n, i) => n + counts[i]), [0, 0, 0, 0, 0, 0]);
    return [one.route || "outside requests", rejected(sum) / covered(), requests(sum) / covered()];
  });
  return sums.sort((a, b) => b[1] - a[1] || b[2] - a[2]).map(([route, over, of]) =>
    make("li", null, make("code", null, route), make("span", null, number(over) + " of " + number(of) + "/s")));
}

const covered = () => Math.max(1, Math.min(mean, state.at - state.since + 1));

function readout(view, row) {
  const at = view.hover, points = at === null ? null : view.points;
  const rate = points && points[at] || row.rate;
  const over = row.shadow ? rate[outcome.shadowed] : rejected(rate), all = requests(rate);
  const word = row.shadow ? "over the limit/s" : "rejected/s";
  view.main.classList.toggle("over", over > 0);
  const said = number(over);
  if (view.said !== said + word) {
    view.said = said + word;
    view.main.replaceChildren(make("b", null, said), " " + word);
  }
  put(view.of, (over > 0 ? percent(over / all) + " " : "") + "of " + number(all) + "\u00a0requests/s");
  const rest = [["banned", "banned"], ["shadowed", "over the limit"], ["skipped", "skipped"], ["undecided", "undecided"]]
    .filter(([which]) => rate[outcome[which]] > 0 && !(row.shadow && which === "shadowed"))
    .map(([which, name]) => number(rate[outcome[which]]) + " " + name + "/s");
  const hour = (row.shadow ? row.hour[outcome.shadowed] : rejected(row.hour));
  const when = points && points[at] ? "at " + clock(times()[at], state.at, true) : "last hour: " + number(hour) + " of " + number(requests(row.hour));
  put(view.rest, rest.join(" · "));
  put(view.when, when);
  const spoken = title(row) + ", " + row.name + ": " + said + " " + word + " of " + number(all) + " requests/s";
  if (view.plot.getAttribute("aria-label") !== spoken) view.plot.setAttribute("aria-label", spoken);
}

function draw(view) {
  const row = state.rows.find(one => one.id === view.id);
  if (!row || !view.plot.clientWidth) return;
  view.points = rates(row);
  limitChart(view.plot, row, view.points, index => {
    view.hover = index === undefined ? null : index;
    const now = state.rows.find(one => one.id === view.id);
    if (now) readout(view, now);
  });
}

export function rows() {
  layout();
  for (const row of state.rows) {
    const view = views.get(row.id);
    describe(view, row);
    if (view.visible) draw(view);
    readout(view, row);
  }
}

for (const choice of document.querySelectorAll("input[name=span]")) {
  choice.addEventListener("change", () => { span.hour = choice.value === "hour"; });
}
id("filter").addEventListener("input", () => state.backend && rows());
id("more").addEventListener("click", () => { showAll = true; rows(); });
