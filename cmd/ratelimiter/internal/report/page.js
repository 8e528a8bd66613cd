"use strict";
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hues = ["#0b8a6b", "#c2571a", "#2f7de1", "#b0348f", "#8a7a00", "#7357d8", "#4c8f2f", "#c43d3d"];
const charts = [];

const number = n => n.toLocaleString("en-US");
const percent = v => (v >= 0.01 ? Number(v.toPrecision(3)) : v.toPrecision(1)) + " %";

function axis(title, more) {
  return Object.assign({
    label: title, labelSize: 22, labelFont: "12px system-ui, sans-serif", font: "12px system-ui, sans-serif",
    stroke: () => style("--soft"), grid: { stroke: () => style("--line"), width: 1 }, ticks: { stroke: () => style("--line") },
  }, more);
}

function chart(id, options, data) {
  const host = document.getElementById(id);
  if (!host) return;
  const plot = new uPlot(Object.assign({ width: host.clientWidth, height: 280 }, options), data, host);
  charts.push([host, plot]);
}

// moment formats a time in UTC, as in the tables.
const moment = ts => new Date(ts * 1e3).toISOString().slice(0, 19).replace("T", " ");

// ticks show the date at the start of a day and on the first tick.
function ticks(u, times, _, space, step) {
  return times.map((ts, i) => {
    const [date, clock] = moment(ts).split(" ");
    if (step >= 86400) return date;
    const time = step < 60 ? clock : clock.slice(0, 5);
    return i === 0 || ts % 86400 === 0 ? time + "\n" + date : time;
  });
}

function duration(seconds) {
  for (const [size, name] of [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]) {
    if (seconds >= size) return seconds === size ? name : Number((seconds / size).toFixed(1)) + " " + name + "s";
  }
}

// bars draws counts over time. Until the user points at a bar, the legend shows the highest.
function bars(id, label, hue, values) {
  const t = report.timeline;
  const times = values.map((_, i) => t.start + i * t.width);
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const when = moment(times[values.indexOf(most)]);
  chart(id, {
    tzDate: ts => uPlot.tzDate(new Date(ts * 1e3), "UTC"),
    scales: { x: { range: (u, low, high) => [low, high + t.width] }, y: { range: (u, low, high) => [0, Math.max(1, high * 1.1)] } },
    series: [
      { label: "from", value: (u, ts) => ts == null ? (most ? when : "start to end") : moment(ts) },
      { label: label, stroke: hue, fill: hue + "99", width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [1, 60], align: 1 }),
        value: (u, v) => v == null ? (most ? number(most) + " (maximum)" : "none") : number(v) },
    ],
    axes: [axis("time, UTC", { values: ticks, space: 70, size: 54 }), axis(label + " per " + duration(t.width), { size: 64, values: (u, marks) => marks.map(v => v % 1 ? "" : number(v)) })],
  }, [times, values]);
}

// marks draws a dashed line at each limit, in the colour of its period.
function marks(limits) {
  return { hooks: { draw: [u => {
    for (const [limit, , hue] of limits) {
      const x = u.valToPos(limit, "x", true);
      u.ctx.save();
      u.ctx.strokeStyle = hue;
      u.ctx.lineWidth = 2 * devicePixelRatio;
      u.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      u.ctx.restore();
    }
  }] } };
}

const chosen = (report.limits ? report.limits.split("; ") : []).map(text => {
  const [, limit, per] = text.match(/^(\d+)(?:\/| per )(.*)$/);
  return [Number(limit), per, hues[report.periods.findIndex(p => p.per === per) % hues.length]];
});

// shareAt is the share above a limit. The limit need not be a step of the curve.
function shareAt(limit, shares, k) {
  let share = 0;
  for (const step of report.curve) if (step.limit <= limit) share = step[shares][k];
  return limit >= report.curve[report.curve.length - 1].limit ? 0 : share;
}

// settled is the legend of a curve until the user points at it: the share above the limit of
// its period, or the end of the curve.
function settled(shares, k) {
  const mine = chosen.find(c => c[1] === report.periods[k].per);
  if (mine) return percent(shareAt(mine[0], shares, k)) + " above " + number(mine[0]);
  return "none above " + number(report.periods[k].most);
}

// A logarithmic scale has no zero, so a line ends where nothing is above. Of overlapping
// curves, a thin dashed line lies on a broad one.
const dashes = [[], [14, 6], [], [10, 10], [3, 6]];
function curve(id, shares, of) {
  const count = report.periods.length;
  const step = document.getElementById(id).clientWidth < 500 ? 0.6 : 1;
  chart(id, {
    scales: { x: { time: false, distr: 3 }, y: { distr: 3, range: (u, low, high) => [Math.max(low, 1e-5) / 1.5, 100] } },
    series: [{ label: "limit", value: (u, v) => v == null ? "point at the chart" : number(v) }].concat(report.periods.map((p, i) => ({
      label: p.per, stroke: hues[i % hues.length], width: 1.5 + step * (count - 1 - i), dash: dashes[i % dashes.length], cap: "butt",
      points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }),
      value: (u, v, series, at) => at == null ? settled(shares, i) : v == null ? "0 %" : percent(v),
    }))),
    axes: [
      axis("limit: requests in the period", { values: (u, marks) => marks.map(v => v == null ? null : number(v)) }),
      axis("percent of " + of, { size: 62, values: (u, marks) => marks.map(v => v == null ? null : v + " %") }),
    ],
    plugins: [marks(chosen)],
  }, [report.curve.map(s => s.limit)].concat(report.periods.map((_, i) => report.curve.map(s => s[shares][i] || null))));
}

// copy copies the text before a button to the clipboard.
function copy(button) {
  const pre = button.previousElementSibling;
  const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  const select = () => { getSelection().selectAllChildren(pre); if (document.execCommand("copy")) done(); };
  if (navigator.clipboard) navigator.clipboard.writeText(pre.textContent.trim()).then(done, select); else select();
}

for (const at of document.querySelectorAll(".width")) at.textContent = duration(report.timeline.width);
for (const button of document.querySelectorAll(".paste button")) button.addEventListener("click", () => copy(button));
bars("traffic", "requests", hues[2], report.timeline.requests);
bars("rejections", "rejected", hues[1], report.timeline.rejected);
curve("clients", "clients_above", "clients");
curve("requests", "requests_above", "requests");

addEventListener("resize", () => { for (const [host, plot] of charts) plot.setSize({ width: host.clientWidth, height: 280 }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const [, plot] of charts) plot.redraw(); });
