import { state, outcome, minutes, quarters, quarter } from "./live.js";

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const all = new Map(); // by the element that holds it
export const span = { hour: false };

// times are the ends of the places on a chart.
function times() {
  const [size, width] = span.hour ? [quarters, quarter] : [minutes, 1];
  const last = span.hour ? Math.floor((state.at + 1) / quarter) * quarter : state.at + 1;
  return Array.from({ length: size }, (_, i) => last - (size - 1 - i) * width);
}

// alone finds values between nothing and nothing, which no line shows.
function alone(u, series) {
  const values = u.data[series], empty = i => values[i] === null || values[i] === undefined;
  return [...values.keys()].filter(i => !empty(i) && empty(i - 1) && empty(i + 1));
}

function line(hue, more) {
  return Object.assign({ stroke: () => style(hue), width: 1.5, points: { show: true, size: 4, filter: alone } }, more);
}

function axis(more) {
  return Object.assign({
    stroke: () => style("--soft"), font: "11px system-ui, sans-serif", gap: 4,
    grid: { stroke: () => style("--line"), width: 1 }, ticks: { show: false },
  }, more);
}

const clock = ticks => ticks.map(t => new Date(t * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }));

// shade marks where this process has decided by itself.
function shade(chart) {
  const list = span.hour ? state.backend.quarters : state.backend.seconds;
  const [xs] = chart.data, { ctx, bbox } = chart;
  ctx.save();
  ctx.fillStyle = style("--warn") + "40";
  for (let i = 0; i < list.length; i++) {
    if (!list[i][2]) continue;
    const begin = xs[i] - (xs[1] - xs[0]);
    while (i + 1 < list.length && list[i + 1][2]) i++;
    const from = Math.max(chart.valToPos(begin, "x", true), bbox.left);
    ctx.fillRect(from, bbox.top, chart.valToPos(xs[i], "x", true) - from, bbox.height);
  }
  ctx.restore();
}

function make(host, height, series, amount, { hovered, under } = {}) {
  const chart = new uPlot({
    width: Math.max(host.clientWidth, 100), height,
    legend: { show: false },
    cursor: { sync: { key: "limits" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (u, low, high) => [0, Math.max(high || 0, amount.least) * 1.08] } },
    series: [{}].concat(series),
    axes: [axis({ size: 22, space: 70, values: (u, ticks) => clock(ticks) }), axis({ size: 46, space: 26, values: (u, ticks) => ticks.map(amount.text) })],
    hooks: { setCursor: [u => hovered && hovered(u.cursor.idx)], drawClear: [u => under && under(u)] },
  }, [times(), ...series.map(() => [])], host);
  all.set(host, { chart, height });
  return chart;
}

// lines are the outcomes that are drawn, and how.
const lines = [
  ["allowed", line("--allowed", { fill: () => style("--allowed") + "22" })],
  ["rejected", line("--rejected", { width: 2 })],
  ["shadowed", line("--shadowed", { width: 2, dash: [6, 3] })],
  ["banned", line("--banned", { width: 2, dash: [2, 3] })],
  ["undecided", line("--undecided", { width: 2 })],
];
const count = { least: 1, text: v => v >= 1e6 ? v / 1e6 + "M" : v >= 1e3 ? v / 1e3 + "k" : String(+v.toFixed(2)) };
const micros = { least: 1, text: v => duration(v) };

export function duration(us) {
  if (us >= 1e6) return +(us / 1e6).toPrecision(3) + " s";
  return us >= 1000 ? +(us / 1000).toPrecision(3) + " ms" : +us.toPrecision(3) + " µs";
}

// limitChart draws a limit, once it is scrolled to.
export function limitChart(host, limit, hovered) {
  const list = span.hour ? limit().quarters : limit().seconds;
  const per = span.hour ? quarter : 1;
  const columns = lines.map(([name]) => {
    const values = list.map(one => one[outcome[name]] / per);
    return name === "allowed" || values.some(v => v) ? values : values.map(() => null);
  });
  const drawn = all.get(host);
  const chart = drawn ? drawn.chart : make(host, 112, lines.map(([, how]) => how), count, { hovered });
  chart.setData([times(), ...columns]);
}

export function backendChart(host) {
  const list = span.hour ? state.backend.quarters : state.backend.seconds;
  const columns = [0, 1].map(i => list.map(one => one[i] || null));
  const drawn = all.get(host);
  const chart = drawn ? drawn.chart : make(host, 150, [line("--allowed"), line("--rejected")], micros, { under: shade });
  chart.setData([times(), ...columns]);
}

// drop forgets the chart of an element that leaves the page.
export function drop(host) {
  const drawn = all.get(host);
  if (drawn) drawn.chart.destroy();
  all.delete(host);
}

addEventListener("resize", () => {
  for (const [host, { chart, height }] of all) if (host.clientWidth) chart.setSize({ width: host.clientWidth, height });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const { chart } of all.values()) chart.redraw(); });
