"use strict";
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hues = ["#0b8a6b", "#c2571a", "#2f7de1", "#b0348f", "#8a7a00", "#7357d8", "#4c8f2f", "#c43d3d"];
const charts = [];

function axis(more) {
  return Object.assign({ stroke: () => style("--soft"), grid: { stroke: () => style("--line"), width: 1 }, ticks: { stroke: () => style("--line") } }, more);
}

function chart(id, options, data) {
  const host = document.getElementById(id);
  const plot = new uPlot(Object.assign({ width: host.clientWidth, height: 260 }, options), data, host);
  charts.push([host, plot]);
}

// moment is a time in UTC, as the tables write it.
const moment = ts => new Date(ts * 1e3).toISOString().slice(0, 19).replace("T", " ");

// ticks write the date where a day begins, and on the first.
function ticks(u, times, _, space, step) {
  return times.map((ts, i) => {
    const [date, clock] = moment(ts).split(" ");
    if (step >= 86400) return date;
    const time = step < 60 ? clock : clock.slice(0, 5);
    return i === 0 || ts % 86400 === 0 ? time + "\n" + date : time;
  });
}

function bars(id, label, hue, values) {
  const t = report.timeline;
  const times = values.map((_, i) => t.start + i * t.width);
  chart(id, {
    tzDate: ts => uPlot.tzDate(new Date(ts * 1e3), "UTC"),
    scales: { y: { range: (u, low, high) => [0, Math.max(1, high * 1.1)] } },
    series: [{ label: "time", value: (u, ts) => ts == null ? "--" : moment(ts) }, { label: label, stroke: hue, fill: hue + "99", width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [1, 60], align: 1 }) }],
    axes: [axis({ values: ticks, space: 70 }), axis()],
  }, [times, values]);
}

// marks draws a dashed line at each limit, in the colour of its period.
function marks(limits) {
  return { hooks: { draw: [u => {
    for (const [limit, hue] of limits) {
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

function duration(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, name] of units) if (seconds >= size) return (seconds / size).toFixed(seconds % size ? 1 : 0) + " " + name;
  return seconds + " s";
}

document.getElementById("width").textContent = duration(report.timeline.width);
bars("traffic", "requests", hues[2], report.timeline.requests);
bars("refusals", "refused", hues[1], report.timeline.refused);

const chosen = report.limits.split("; ").map(text => {
  const [, limit, per] = text.match(/^(\d+)(?:\/| per )(.*)$/);
  return [Number(limit), hues[report.periods.findIndex(p => p.per === per) % hues.length]];
});
// A logarithmic scale has no zero: where nothing is above, the line ends.
function curve(id, shares) {
  chart(id, {
    scales: { x: { time: false, distr: 3 }, y: { distr: 3, range: (u, low, high) => [Math.max(low, 1e-5) / 1.5, 100] } },
    series: [{ label: "limit" }].concat(report.periods.map((p, i) => ({
      label: p.per, stroke: hues[i % hues.length], width: 2, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }),
      value: (u, v) => v == null ? "0 %" : v.toPrecision(3) + " %",
    }))),
    axes: [axis({ label: "limit", labelSize: 20 }), axis({ size: 70, values: (u, ticks) => ticks.map(v => v == null ? null : v + " %") })],
    plugins: [marks(chosen)],
  }, [report.curve.map(s => s.limit)].concat(report.periods.map((_, i) => report.curve.map(s => s[shares][i] || null))));
}
curve("clients", "clients_above");
curve("requests", "requests_above");

addEventListener("resize", () => { for (const [host, plot] of charts) plot.setSize({ width: host.clientWidth, height: 260 }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const [, plot] of charts) plot.redraw(); });
