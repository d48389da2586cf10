"use strict";
/* Orders and fills: the ledger of a run whose decisions went to a venue, beside the model's (the champion ledger). */
const VENUE = X.venue || null;
const PARTS = ["credits", "fees", "slippage", "latency", "quantity", "funding"];
const partName = (part) => D.words.parts[part][0];
const partWord = (part) => partName(part).toLowerCase();

/* Trades of both ledgers, joined with the run's own by number. */
const filled = [];
if (VENUE) {
  const own = new Map(trades.map((t) => [t.trade_id, t])),
    columns = D.venue.trades;
  columns.trade_id.forEach((_, k) => {
    const row = {};
    for (const name in columns) row[name] = columns[name][k];
    const trade = own.get(row.trade_id);
    row.trade = trade || null;
    row.t0 = trade ? trade.t0 : null;
    row.honest_net = trade ? trade.honest_pnl : 0;
    row.difference = row.fills_net - row.model_net;
    row.side = row.direction < 0 ? "SHORT" : "LONG";
    const share = row.quantity_model ? row.quantity_filled / row.quantity_model : 0;
    row.share = share;
    row.liquidity = row.entry_liquidity + " / " + row.exit_liquidity;
    row.size = row.quantity_filled === 0 ? "none" : share < 0.99 ? "part" : "full";
    filled.push(row);
  });
}
const quantity = (x) => (x == null ? "n/a" : tidy(x.toLocaleString("en-US", { maximumSignificantDigits: 7 })));
const usedParts = () => PARTS.filter((part) => filled.some((row) => row[part]));

/* Runs of neighbouring trades, at most `limit`: nets so far at the end of each, parts within it or, if asked, so far too. */
const ledgerView = { bars: "each" };
function ledgerSteps(limit) {
  const size = Math.max(1, Math.ceil(filled.length / limit)),
    level = { fills_net: 0, model_net: 0, honest_net: 0 },
    parts = [...PARTS, "difference"],
    steps = [];
  filled.forEach((row, k) => {
    if (k % size === 0) {
      const before = ledgerView.bars === "sum" && steps.length ? steps.at(-1) : {};
      steps.push({ rows: [], ...Object.fromEntries(parts.map((part) => [part, before[part] || 0])) });
    }
    const step = steps.at(-1);
    step.rows.push(row);
    for (const part of parts) step[part] += row[part];
    for (const name in level) step[name] = level[name] += row[name];
  });
  return { size, steps };
}

function stepTip(step) {
  const first = step.rows[0],
    last = step.rows.at(-1),
    one = step.rows.length === 1;
  const row = (name, value, strong) =>
    `<tr${strong ? ' style="font-weight:600"' : ""}><td>${esc(name)}</td><td>${usd(value, true)}</td></tr>`;
  const span = ledgerView.bars === "sum" ? "so far" : one ? "this trade" : "these " + step.rows.length;
  const title = one
    ? `#${first.trade_id} ${first.side} ${esc(first.asset)}${first.t0 ? "<br>" + minute(first.t0) + " UTC" : ""}`
    : `Trades #${first.trade_id} to #${last.trade_id}`;
  return (
    `<b>${title}</b><table>` +
    row("fills, sum so far", step.fills_net) +
    row("model, sum so far", step.model_net) +
    row("honest, sum so far", step.honest_net) +
    row("fills \u2212 model, " + span, step.difference, true) +
    usedParts()
      .map((part) => row(partWord(part), step[part]))
      .join("") +
    "</table>"
  );
}

function ledgersChart(parent) {
  const net = VENUE.net;
  const said = usedParts()
    .map((part) => `${partWord(part)} ${usd(VENUE.parts[part], true)}`)
    .join(", ");
  const label =
    `Cumulative net over ${many(filled.length, "trade")}: fills end at ${usd(net.fills, true)} USDT, ` +
    `model at ${usd(net.model, true)} USDT. Parts of the difference: ${said || "none"}.`;
  const height = small() ? 480 : 500;
  chart(parent, {
    height,
    label,
    make: (c) => {
      const { steps } = ledgerSteps(small() ? 70 : 240),
        names = steps.map((step) => "#" + step.rows[0].trade_id);
      const left = small() ? 50 : 66,
        right = small() ? 8 : 16,
        cut = small() ? 218 : 260,
        under = small() ? 74 : 50;
      const axis = (k) => ({
        type: "category",
        gridIndex: k,
        data: names,
        ...flat(c, { splitLine: { show: false }, axisLabel: { show: k === 1 } }),
        axisPointer: { show: true, type: "line", lineStyle: { color: c.muted, type: "dotted" }, label: { show: false } },
      });
      const money = (k, name) => ({
        type: "value",
        gridIndex: k,
        name,
        scale: k === 0,
        splitNumber: 4,
        nameTextStyle: { color: c.muted, align: "left", padding: [0, 0, 0, 14 - left] },
        nameGap: 11,
        ...flat(c, {
          axisLine: { show: false },
          axisLabel: { formatter: (v) => (Math.abs(v) >= 1e5 ? num(v / 1000, 0) + "k" : num(v, Number.isInteger(v) ? 0 : 1)) },
        }),
      });
      const sum = (name, label_, color, extra) =>
        line(
          label_,
          0,
          steps.map((step) => step[name]),
          color,
          { ...extra, ...(steps.length === 1 ? { showSymbol: true } : {}) },
        );
      const bar = (part) => ({
        type: "bar",
        name: partWord(part),
        stack: "parts",
        xAxisIndex: 1,
        yAxisIndex: 1,
        barMaxWidth: 26,
        barCategoryGap: "22%",
        itemStyle: { color: c["part_" + part] },
        data: steps.map((step) => step[part]),
      });
      const zero = {
        silent: true,
        symbol: "none",
        label: { show: false },
        lineStyle: { color: c.muted, type: "dotted" },
        data: [{ yAxis: 0 }],
      };
      return {
        grid: [
          { left, right, top: 50, height: cut - 50 },
          { left, right, top: cut + under, height: height - cut - under - 24 },
        ],
        xAxis: [axis(0), axis(1)],
        yAxis: [money(0, "USDT, sum so far"), money(1, "USDT, fills \u2212 model" + (ledgerView.bars === "sum" ? " so far" : ""))],
        axisPointer: { link: [{ xAxisIndex: "all" }] },
        tooltip: tip(c, (ps) => stepTip(steps[ps[0].dataIndex])),
        legend: [
          legend(c, ["fills", "model", "honest"], { icon: "roundRect" }),
          legend(c, [...usedParts().map(partWord), "difference"], { top: cut + 8 }),
        ],
        series: [
          sum("honest_net", "honest", c.honest, { lineStyle: { width: 1.3, color: c.honest } }),
          sum("model_net", "model", c.champion, { lineStyle: { width: 1.6, color: c.champion, type: [5, 3] } }),
          sum("fills_net", "fills", c.ink, { lineStyle: { width: 2.2, color: c.ink }, markLine: zero }),
          ...usedParts().map(bar),
          {
            type: "scatter",
            name: "difference",
            xAxisIndex: 1,
            yAxisIndex: 1,
            symbol: "diamond",
            symbolSize: steps.length > 100 ? 4 : 7,
            itemStyle: { color: c.ink, borderColor: c.card, borderWidth: 1 },
            z: 5,
            data: steps.map((step) => step.difference),
          },
        ],
      };
    },
  });
}

/* From the model's net to the fills': lying bars, split at zero so that a bar may cross it. */
function bridgeChart(parent) {
  const parts = usedParts();
  let level = VENUE.net.model;
  const bars = [["model net", Math.min(0, level), Math.max(0, level), level]];
  for (const part of parts) {
    const from = level,
      value = VENUE.parts[part];
    level += value;
    bars.push([partWord(part), Math.min(from, level), Math.max(from, level), value]);
  }
  bars.push(["fills net", Math.min(0, VENUE.net.fills), Math.max(0, VENUE.net.fills), VENUE.net.fills]);
  const ends = bars.flatMap((bar) => [bar[1], bar[2]]),
    low = Math.min(0, ...ends),
    high = Math.max(0, ...ends),
    room = (high - low || 1) * (small() ? 0.3 : 0.2);
  chart(parent, {
    height: 44 + 34 * bars.length,
    label: bars.map((bar) => `${bar[0]} ${usd(bar[3], true)}`).join(", ") + " USDT",
    make: (c) => {
      const shade = (k) => (k === 0 ? c.champion : k === bars.length - 1 ? c.ink : c["part_" + parts[k - 1]]);
      const piece = (pick, seen) => ({
        type: "bar",
        stack: "bridge",
        barWidth: "62%",
        silent: true,
        data: bars.map((bar, k) => ({ value: pick(bar), itemStyle: { color: seen ? shade(k) : "transparent" } })),
      });
      const tags = {
        type: "scatter",
        symbolSize: 0.1,
        silent: true,
        data: bars.map((bar) => [bar[2], bar[0]]),
        label: { show: true, position: "right", color: c.ink, fontSize: 12, formatter: (p) => usd(bars[p.dataIndex][3], true) },
      };
      return {
        grid: { left: 8, right: 8, top: 4, bottom: 4, containLabel: true },
        xAxis: {
          type: "value",
          min: low < 0 ? low - room * 0.15 : 0,
          max: high + room,
          ...flat(c, { axisLine: { show: false }, axisLabel: { showMinLabel: false, showMaxLabel: false, formatter: (v) => num(v, 0) } }),
          splitNumber: small() ? 3 : 5,
        },
        yAxis: {
          type: "category",
          inverse: true,
          data: bars.map((bar) => bar[0]),
          ...flat(c, { splitLine: { show: false }, axisLine: { onZero: false, show: false }, axisLabel: { fontSize: 12 } }),
        },
        series: [
          piece(([, a, b]) => (a > 0 ? a : b < 0 ? b : 0), false),
          piece(([, a, b]) => (b > 0 ? b - Math.max(a, 0) : 0), true),
          piece(([, a, b]) => (a < 0 ? a - Math.min(b, 0) : 0), true),
          tags,
        ],
      };
    },
  });
}
