"use strict";
/* Data and theme. */
const D = JSON.parse(document.getElementById("data").textContent);
const S = D.summary,
  X = S.detail,
  LEDGERS = ["honest", "champion"],
  DAY = 864e5;

/* Time of bar i: runs of bars without gap. */
const runs = D.time.runs,
  barMs = D.time.bar_ms;
function runOf(i) {
  let low = 0,
    high = runs.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (runs[mid][0] <= i) low = mid;
    else high = mid - 1;
  }
  return low;
}
const timeAt = (i) => {
  const r = runs[runOf(i)];
  return r[1] + (i - r[0]) * barMs;
};
const T0 = X.first_ts || 0,
  T1 = X.last_ts || 1;

/* [time, value] pairs of a thinned line; a gap in the bars breaks the line. */
function points(steps, values) {
  const out = [];
  let i = 0,
    last = -1;
  steps.forEach((step, k) => {
    i += step;
    const run = runOf(i),
      r = runs[run],
      ts = r[1] + (i - r[0]) * barMs;
    if (last >= 0 && run !== last) out.push([r[1] - barMs, null]);
    last = run;
    out.push([ts, values[k]]);
  });
  return out;
}

/* Outages long enough to be seen, for grey bands. */
const outages = runs
  .slice(1)
  .map((r, k) => [timeAt(r[0] - 1), r[1] - barMs])
  .filter(([a, b]) => b - a > Math.max((T1 - T0) / 1500, 3 * barMs));

/* Trades as rows. */
const trades = (D.trades.trade_id || []).map((_, k) => {
  const row = {};
  for (const name in D.trades) row[name] = D.trades[name][k];
  return row;
});
trades.forEach((t, k) => {
  const before = k ? trades[k - 1].honest_capital_after : X.start_capital;
  t.t0 = timeAt(t.entry_bar);
  t.t1 = timeAt(Math.min(t.exit_bar, D.time.bars - 1));
  t.side = t.direction < 0 ? "SHORT" : "LONG";
  t.honest_bps = t.honest_ret * 1e4;
  t.honest_pnl = t.honest_capital_after - before;
  t.champion_bps = t.notional ? (t.net_pnl / t.notional) * 1e4 : 0;
});

/* Theme: the system's unless the reader chose. */
const root = document.documentElement;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
function ink() {
  const css = getComputedStyle(root),
    c = {};
  for (const name of [
    "bg",
    "card",
    "sunk",
    "ink",
    "muted",
    "line",
    "grid",
    "honest",
    "champion",
    "gain",
    "loss",
    "band",
    "series-a",
    "series-b",
    "part-credits",
    "part-fees",
    "part-slippage",
    "part-latency",
    "part-quantity",
    "part-funding",
  ])
    c[name.replace("-", "_")] = css.getPropertyValue("--" + name).trim();
  return c;
}

function card(width, title, hint, body, controls, id) {
  return el(
    "div",
    { class: "card w" + width, id },
    el(
      "div",
      { class: "head" },
      el("div", {}, el("h3", {}, title), hint ? el("p", { class: "hint" }, hint) : null),
      controls ? el("div", { class: "controls" }, controls) : null,
    ),
    body,
  );
}
const key = () =>
  el("span", { class: "key" }, el("span", {}, el("i"), "honest"), el("span", {}, el("i", { class: "champion" }), "champion"));
