import { state, connect } from "./live.js";
import { backendChart } from "./charts.js";
import { id, text, clock } from "./dom.js";
import { rows } from "./rows.js";
import { status, totals, clients, facts, config } from "./tables.js";
import { lookUpClient } from "./lookup.js";

function update() {
  status();
  totals();
  rows();
  clients(lookUpClient);
  backendChart(id("backend-chart"));
  facts();
  config();
  document.body.dataset.at = state.at;
}

// report shows the state of the connection. Without one, the page keeps what it showed, but
// says that it is old.
function report(word, why) {
  const texts = { live: "live", reconnecting: "reconnecting …", paused: "paused", disconnected: "not connected" };
  text("live", texts[word]);
  const stale = word === "reconnecting" || word === "disconnected";
  document.body.classList.toggle("stale", stale);
  if (stale) {
    id("status").dataset.level = "idle";
    text("status", "Disconnected" + (state.at ? " · last update at " + clock(state.at + 1, Date.now() / 1000, true) : ""));
    document.title = "⚠ Rate limits";
  }
  id("trouble").hidden = word !== "disconnected";
  text("trouble", why || "");
}

for (const choice of document.querySelectorAll("input[name=span]")) {
  choice.addEventListener("change", () => { if (state.backend) update(); });
}

// An anchor must not end up under the bar, whose height depends on the width of the page.
new ResizeObserver(([bar]) => {
  document.documentElement.style.setProperty("--bar", Math.ceil(bar.target.offsetHeight) + "px");
}).observe(id("bar"));
connect(update, report);
