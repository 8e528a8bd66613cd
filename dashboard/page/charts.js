import { state, outcome, requests, rejected, shownSeconds, interval, intervals, mean } from "./live.js";
import { micros } from "./dom.js";

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const all = new Map(); // by the element that holds the chart
export const span = { hour: false };

// times are the ends of the points on a chart, in seconds since 1970.
export function times() {
  if (!span.hour) return Array.from({ length: shownSeconds }, (_, i) => state.at + 1 - (shownSeconds - 1 - i));
  const last = Math.floor((state.at + 1) / interval) * interval;
  return Array.from({ length: intervals }, (_, i) => last - (intervals - 1 - i) * interval);
}

// rates are the points of a row: for each time the rate of every outcome, as a mean of 10
// seconds, and null before the process counted.
export function rates(row) {
  const lists = row.series.map(one => state.series.get(one)).filter(Boolean).map(one => span.hour ? one.hour : one.seconds);
  return times().map((end, i) => {
    const covered = Math.min(mean, end - state.since);
    if (covered <= 0) return null;
    const sum = [0, 0, 0, 0, 0, 0];
    // A second of index i + mean ends at this time; the history begins a mean earlier.
    const [from, to] = span.hour ? [i, i] : [i + 1, i + mean];
    for (const list of lists) for (let at = from; at <= to; at++) for (let o = 0; o < sum.length; o++) sum[o] += list[at][o];
    return sum.map(n => n / covered);
  });
}

// alone finds points without neighbours, which no line would show.
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

// shade marks the outages of the backend.
function shade(chart) {
  const xs = chart.data[0], { ctx, bbox } = chart;
  const first = xs[0], last = xs[xs.length - 1];
  ctx.save();
  ctx.fillStyle = style("--outage") + "47";
  for (const { from, to } of state.backend.outages) {
    const begin = Math.max(from, first), end = Math.min(to + 1, last);
    if (end <= begin) continue;
    const left = chart.valToPos(begin, "x", true), right = chart.valToPos(end, "x", true);
    ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height);
  }
  ctx.restore();
}

function make(host, height, series, amount, hovered) {
  const chart = new uPlot({
    width: Math.max(host.clientWidth, 100), height,
    legend: { show: false },
    cursor: { sync: { key: "limits" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (u, low, high) => [0, Math.max(high || 0, amount.least) * 1.08] } },
    series: [{}].concat(series),
    axes: [axis({ size: 20, space: 50, incrs: [60, 120, 300, 600, 900, 1800], values: (u, ticks) => clock(ticks) }), axis({ size: amount.size, space: 24, values: (u, ticks) => ticks.map(amount.text) })],
    hooks: { setCursor: [u => hovered && hovered(u.cursor.idx)], drawClear: [shade] },
  }, [times(), ...series.map(() => [])], host);
  all.set(host, { chart, height });
  return chart;
}

// lines are drawn in this order, each from the rates of a point.
const lines = [
  [requests, line("--requests", { fill: () => style("--requests") + "26" })],
  [rejected, line("--rejected", { width: 2, fill: () => style("--rejected") + "40" })],
  [one => one[outcome.shadowed], line("--shadowed", { width: 2, dash: [6, 3] })],
  [one => one[outcome.undecided], line("--undecided", { width: 2, dash: [2, 3] })],
];
const limitLine = line("--limit", { dash: [2, 3], points: { show: false } });
const count = { least: 1, size: 40, text: v => v >= 1e6 ? v / 1e6 + "M" : v >= 1e3 ? v / 1e3 + "k" : String(+v.toFixed(2)) };
const duration = { least: 1, size: 52, text: micros };

// limitChart draws a row.
export function limitChart(host, row, points, hovered) {
  const columns = lines.map(([read], i) => {
    const values = points.map(one => one && read(one));
    return i === 0 || values.some(v => v) ? values : values.map(() => null);
  });
  const drawn = all.get(host);
  const chart = drawn ? drawn.chart : make(host, 96, [...lines.map(([, how]) => how), limitLine], count, hovered);
  chart.setData([times(), ...columns, points.map(() => row.line || null)]);
}

export function backendChart(host) {
  const list = span.hour ? state.backend.hour : state.backend.seconds;
  const columns = [0, 1].map(i => list.map(one => one[i] || null));
  const drawn = all.get(host);
  const chart = drawn ? drawn.chart : make(host, 150, [line("--p50"), line("--p99")], duration);
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
