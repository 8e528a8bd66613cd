import { here } from "./live.js";
import { make, id, number, used } from "./tables.js";

const token = document.querySelector("meta[name=dashboard-token]").content;
let chosen = null; // a client of a list, whose scope is shown under a mask

async function post(to, question) {
  try {
    const answer = await fetch(here(to), {
      method: "POST", body: JSON.stringify(question),
      headers: { "Content-Type": "application/json", "X-Dashboard-Token": token },
    });
    if (!(answer.headers.get("Content-Type") || "").startsWith("application/json")) {
      return { error: "The application answers " + answer.status + ". The login may be over: load the page again." };
    }
    return await answer.json();
  } catch {
    return { error: "The application does not answer." };
  }
}

function question() {
  const scope = id("scope").value.trim(), key = id("key").value.trim();
  return chosen && chosen.scope.trim() === scope ? { id: chosen.id, key } : { scope, key };
}

function until(milliseconds) {
  const seconds = Math.ceil((milliseconds - Date.now()) / 1000);
  if (seconds <= 0) return "now";
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= 2 * size) return "in " + Math.round(seconds / size) + " " + name;
  return "in " + seconds + " s";
}

function row(one) {
  const share = one.limit > 0 ? Math.min(1, Math.max(0, 1 - one.remaining / one.limit)) : 1;
  return make("tr", null,
    make("td", null, make("span", { class: "mono" }, one.key), make("span", { class: "where" }, one.name + " · " + one.text + (one.shadow ? " · shadow, rejects nobody" : "")),
      ...(one.banned ? [make("span", { class: "tag ban" }, "banned")] : [])),
    make("td", null, ...used(share)),
    make("td", { class: "left" }, number(one.remaining) + " of " + number(one.limit)),
    make("td", null, one.reset ? until(one.reset) : "as requests end"));
}

function show(answer, done) {
  const parts = [];
  if (done) parts.push(make("p", { class: "done" }, make("b", null, "Reset. "), done));
  if (answer.scope) parts.push(make("p", null, make("b", { class: "mono" }, answer.scope), answer.note && !done ? " " + answer.note : ""));
  if (answer.error) parts.push(make("p", { class: "error" }, answer.error));
  const limits = answer.limits || [];
  if (limits.length) {
    const spent = limits.filter(one => one.remaining < one.limit), whole = limits.filter(one => one.remaining >= one.limit);
    const table = list => make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "What is left" }, make("table", { class: "list" },
      make("thead", null, make("tr", null, ...["key and limit", "used", "left", "whole again"].map(name => make("th", null, name)))),
      make("tbody", null, ...list.map(row))));
    const listed = spent.length || whole.length <= 5 ? [...spent, ...(whole.length <= 5 ? whole : [])] : [];
    if (listed.length) parts.push(table(listed));
    if (whole.length > 5) parts.push(make("details", null, make("summary", null, whole.length + " limits of which nothing is used"), table(whole)));
  }
  id("found").replaceChildren(...parts);
}

async function busy(work) {
  const buttons = id("ask").querySelectorAll("button");
  const focused = document.activeElement;
  buttons.forEach(button => button.setAttribute("aria-disabled", "true"));
  try {
    await work();
  } finally {
    buttons.forEach(button => button.removeAttribute("aria-disabled"));
    if (focused && focused !== document.body) focused.focus({ preventScroll: true });
  }
}

const lookUp = () => busy(async () => show(await post("lookup", question())));

// ask looks up a client of a list.
export function ask(client) {
  chosen = client;
  id("scope").value = client.scope;
  id("key").value = "";
  id("lookup").scrollIntoView({ block: "center" });
  id("scope").focus({ preventScroll: true });
  lookUp();
}

id("ask").addEventListener("submit", event => {
  event.preventDefault();
  lookUp();
});
const reset = id("reset");
if (reset) reset.addEventListener("click", () => {
  if (!id("ask").reportValidity()) return;
  busy(async () => {
    const answer = await post("reset", question());
    if (answer.error) return show(answer);
    show(await post("lookup", question()), answer.note);
  });
});
