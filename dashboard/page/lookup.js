import { here } from "./live.js";
import { make, id, number, lasting } from "./dom.js";
import { used } from "./tables.js";

const token = document.querySelector("meta[name=dashboard-token]").content;
let chosen = null; // the client of a list, whose scope is masked

async function post(to, query) {
  try {
    const answer = await fetch(here(to), {
      method: "POST", body: JSON.stringify(query),
      headers: { "Content-Type": "application/json", "X-Dashboard-Token": token },
    });
    if (!(answer.headers.get("Content-Type") || "").startsWith("application/json")) {
      return { error: "The application responds with status " + answer.status + ". Your login may have expired: reload the page." };
    }
    return await answer.json();
  } catch {
    return { error: "The application does not respond." };
  }
}

function query() {
  const scope = id("scope").value.trim(), key = id("key").value.trim();
  return chosen && chosen.scope.trim() === scope ? { id: chosen.id, key } : { scope, key };
}

function until(milliseconds) {
  const seconds = Math.ceil((milliseconds - Date.now()) / 1000);
  return seconds <= 0 ? "full now" : "full in " + lasting(seconds);
}

function row(one) {
  const share = one.limit > 0 ? Math.min(1, Math.max(0, 1 - one.remaining / one.limit)) : 1;
  return make("tr", null,
    make("td", null, make("span", { class: "mono" }, one.key), make("span", { class: "where" }, one.name + " · " + one.text + (one.shadow ? " · shadow, rejects no request" : "")),
      ...(one.banned ? [make("span", { class: "tag ban" }, "banned")] : [])),
    make("td", null, ...used(share)),
    make("td", { class: "left" }, number(one.remaining) + " of " + number(one.limit) + " left"),
    make("td", null, one.reset ? until(one.reset) : "when requests end"));
}

function show(answer, done) {
  const parts = [];
  if (done) parts.push(make("p", { class: "done" }, make("b", null, "Reset. "), done));
  if (answer.scope) parts.push(make("p", null, make("b", { class: "mono" }, answer.scope), answer.note && !done ? " " + answer.note : ""));
  if (answer.error) parts.push(make("p", { class: "error" }, answer.error));
  const limits = answer.limits || [];
  if (limits.length) {
    const begun = limits.filter(one => one.remaining < one.limit), unused = limits.filter(one => one.remaining >= one.limit);
    const table = list => make("table", { class: "list found" },
      make("thead", null, make("tr", null, ...["key and limit", "used", "quota", "reset"].map(name => make("th", null, name)))),
      make("tbody", null, ...list.map(row)));
    const few = unused.length <= 5, listed = few ? [...begun, ...unused] : begun;
    if (listed.length) parts.push(table(listed));
    if (!few) parts.push(make("details", null, make("summary", null, unused.length + " unused limits"), table(unused)));
  }
  id("found").replaceChildren(...parts);
}

async function busy(work) {
  const buttons = id("query").querySelectorAll("button");
  const focused = document.activeElement;
  buttons.forEach(button => button.setAttribute("aria-disabled", "true"));
  try {
    await work();
  } finally {
    buttons.forEach(button => button.removeAttribute("aria-disabled"));
    if (focused && focused !== document.body) focused.focus({ preventScroll: true });
  }
}

const lookUp = () => busy(async () => show(await post("lookup", query())));

// lookUpClient looks up a client of a list.
export function lookUpClient(client) {
  chosen = client;
  id("scope").value = client.scope;
  id("key").value = "";
  id("lookup").scrollIntoView({ block: "start" });
  id("scope").focus({ preventScroll: true });
  lookUp();
}

id("query").addEventListener("submit", event => {
  event.preventDefault();
  lookUp();
});
const reset = id("reset");
if (reset) reset.addEventListener("click", () => {
  if (!id("query").reportValidity()) return;
  busy(async () => {
    const answer = await post("reset", query());
    if (answer.error) return show(answer);
    show(await post("lookup", query()), answer.note);
  });
});
