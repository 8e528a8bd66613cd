import { state, connect } from "./live.js";
import { backendChart } from "./charts.js";
import { id, text } from "./dom.js";
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

// report shows the state of the connection, and keeps what the page showed before.
function report(word, why) {
  const texts = { live: "live", reconnecting: "reconnecting …", paused: "paused", disconnected: "not connected" };
  text("live", texts[word]);
  id("trouble").hidden = word !== "disconnected";
  if (word !== "disconnected") return;
  text("trouble", why);
  if (!state.backend) text("status", "Not connected");
}

for (const choice of document.querySelectorAll("input[name=span]")) {
  choice.addEventListener("change", () => { if (state.backend) update(); });
}

// An anchor must not end up under the bar, whose height depends on the width of the page.
new ResizeObserver(([bar]) => {
  document.documentElement.style.setProperty("--bar", Math.ceil(bar.target.offsetHeight) + "px");
}).observe(id("bar"));
connect(update, report);
