"use strict";
/* Charts over groups: returns, assets, reasons, buckets, hours, days, costs. */
const flat = (c, extra) => ({
  axisLine: { lineStyle: { color: c.line } },
  axisTick: { show: false },
  splitLine: { lineStyle: { color: c.grid } },
  ...extra,
  axisLabel: { color: c.muted, fontSize: 11, hideOverlap: true, ...(extra || {}).axisLabel },
});

/* Steps of a size that reads well, about `parts` of them over the range. */
function niceStep(range, parts) {
  const raw = range / parts,
    ten = 10 ** Math.floor(Math.log10(raw));
  return ten * ([1, 2, 2.5, 4, 5, 10].find((f) => f * ten >= raw) || 10);
}

function returnsChart(parent) {
  const all = trades.flatMap((t) => [t.honest_bps, t.champion_bps]),
    low = Math.min(...all),
    high = Math.max(...all);
  const step = niceStep(Math.max(high - low, 1), 44),
    from = Math.floor(low / step) * step,
    bins = Math.floor((high - from) / step) + 1;
  const counts = (name) => {
    const n = new Array(bins).fill(0);
    trades.forEach((t) => {
      n[Math.min(bins - 1, Math.floor((t[name] - from) / step))] += 1;
    });
    return [[from, 0], ...n.map((v, k) => [from + k * step, v]), [from + bins * step, 0]];
  };
  const mean = { honest: X.figures.honest.mean_trade_bps, champion: X.figures.champion.mean_trade_bps };
  const label = `Distribution of trade returns in basis points: honest mean ${bps(mean.honest)}, champion mean ${bps(mean.champion)}`;
  chart(parent, {
    height: 300,
    label,
    make: (c) => {
      const one = (name) => ({
        type: "line",
        name,
        step: "end",
        symbol: "none",
        data: counts(name + "_bps"),
        color: c[name],
        lineStyle: { width: 1.5, color: c[name] },
        areaStyle: { color: c[name], opacity: 0.22 },
        markLine: {
          silent: true,
          symbol: "none",
          lineStyle: { color: c[name], type: "dashed" },
          data: [{ xAxis: mean[name] }],
          label: {
            show: true,
            rotate: 0,
            formatter: `mean ${bps(mean[name])}`,
            color: c[name],
            fontSize: 11,
            distance: name === "honest" ? 2 : 16,
            padding: 0,
          },
        },
      });
      return {
        grid: { left: 44, right: 16, top: 50, bottom: 34 },
        legend: legend(c, LEDGERS, { left: 0 }),
        tooltip: tip(
          c,
          (ps) =>
            `<b>${num(ps[0].value[0], 0)} to ${num(ps[0].value[0] + step, 0)} bps</b><br>` +
            ps.map((p) => `${p.seriesName} ${p.value[1]}`).join("<br>"),
        ),
        xAxis: {
          type: "value",
          name: "net return of a trade, bps of notional",
          nameLocation: "middle",
          nameGap: 22,
          nameTextStyle: { color: c.muted },
          ...flat(c, { splitLine: { show: false }, axisLabel: { formatter: (v) => num(v, 0) } }),
          min: from,
          max: from + bins * step,
        },
        yAxis: { type: "value", minInterval: 1, ...flat(c, { axisLine: { show: false } }) },
        series: [one("champion"), one("honest")],
      };
    },
  });
}

const MEASURES = {
  pnl: ["Profit, USDT", (v) => usd(v, true)],
  mean_bps: ["Mean trade, bps", (v) => bps(v)],
  win_rate: ["Win rate", (v) => pct(v, 0, false)],
  trades: ["Trades", (v) => num(v, 0)],
};
const measure = { name: "pnl" };
const measured = (group, ledger) => (group == null ? null : measure.name === "trades" ? group.trades : group[ledger][measure.name]);

/* Groups as bars; `names` maps a key to what is shown, `order` fixes the keys shown. */
function groupChart(parent, { groups, order, names, words, upright, height, label }) {
  const keys = () => order || Object.keys(groups).sort((a, b) => measured(groups[a], "honest") - measured(groups[b], "honest"));
  chart(parent, {
    height,
    label,
    make: (c) => {
      const shown = keys(),
        said = (k) => (names && names[k]) || k,
        show = MEASURES[measure.name][1];
      const labels = flat(c, {
        splitLine: { show: false },
        axisLabel: {
          interval: shown.length > 12 && upright ? "auto" : 0,
          formatter: (k) => {
            const t = said(k);
            return t.length > 17 ? t.slice(0, 16) + "\u2026" : t;
          },
        },
      });
      const category = { type: "category", data: shown, ...labels };
      const value = { type: "value", ...flat(c, { axisLine: { show: false } }), splitNumber: 4 };
      value.axisLabel.formatter = (v) =>
        measure.name === "win_rate" ? pct(v, 0, false) : Math.abs(v) >= 1e4 ? num(v / 1000, 0) + "k" : num(v, 0);
      const one = (ledger) => ({
        type: "bar",
        name: ledger,
        itemStyle: { color: c[ledger], borderRadius: 2 },
        barMaxWidth: 13,
        barGap: "10%",
        data: shown.map((k) => measured(groups[k], ledger)),
      });
      const both = measure.name === "trades" ? ["honest"] : upright ? ["honest", "champion"] : ["champion", "honest"];
      return {
        grid: { left: 8, right: 14, top: 8, bottom: 4, containLabel: true },
        xAxis: upright ? category : value,
        yAxis: upright ? value : category,
        tooltip: {
          ...tip(c, (ps) => {
            const k = ps[0].name,
              g = groups[k];
            return (
              `<b>${esc(said(k))}</b>${words && words[k] ? ": " + esc(words[k]) : ""}<br>` +
              (g
                ? many(g.trades, "trade") +
                  "<br>" +
                  LEDGERS.map(
                    (l) => `${l}: ${usd(g[l].pnl, true)} USDT, mean ${bps(g[l].mean_bps)} bps, wins ${pct(g[l].win_rate, 0, false)}`,
                  ).join("<br>")
                : "no trade")
            );
          }),
          axisPointer: { type: "shadow" },
        },
        series: both.map(one).map((s) => ({ ...s, label: { show: false, formatter: (p) => show(p.value) } })),
      };
    },
  });
}

/* Assets: the best and the worst, when there are too many for one chart. */
function assetOrder(limit) {
  const keys = Object.keys(S.by_asset).sort((a, b) => S.by_asset[a].honest.pnl - S.by_asset[b].honest.pnl);
  return keys.length <= limit ? keys : [...keys.slice(0, limit / 2), ...keys.slice(-limit / 2)];
}

function daysChart(parent) {
  const days = X.daily;
  const label = `Return of each day: honest ${days.filter((d) => d.honest.return > 0).length} of ${days.length} days above zero`;
  chart(parent, {
    height: 220,
    label,
    make: (c) => ({
      grid: { left: 8, right: 12, top: 12, bottom: 4, containLabel: true },
      xAxis: { type: "category", data: days.map((d) => d.date), ...flat(c, { axisLabel: { formatter: (d) => d.slice(5) } }) },
      yAxis: { type: "value", ...flat(c, { axisLine: { show: false }, axisLabel: { formatter: (v) => pct(v, 1, false) } }) },
      tooltip: {
        ...tip(
          c,
          (ps) =>
            `<b>${esc(ps[0].name)}</b><br>${many(days[ps[0].dataIndex].trades, "trade")}<br>` +
            ps.map((p) => `${p.seriesName} ${pct(p.value, 2)}`).join("<br>"),
        ),
        axisPointer: { type: "shadow" },
      },
      series: LEDGERS.map((l) => ({
        type: "bar",
        name: l,
        barGap: "0%",
        barMaxWidth: 14,
        itemStyle: { color: c[l], borderRadius: 1.5 },
        data: days.map((d) => d[l].return),
      })),
    }),
  });
}

/* From the price move to the net: floating bars, split at zero so that a bar may cross it. */
function costChart(parent, ledger) {
  const C = X.costs[ledger],
    parts = [
      ["price move", C.price_move],
      ["credits", C.credits],
      ["slippage", C.slippage],
      ["fees", C.fees],
      ["funding", C.funding],
    ].filter(([k, v]) => v || k === "price move" || k === "fees");
  let level = 0;
  const spans = parts.map(([, v]) => {
    const a = level;
    level += v;
    return [Math.min(a, level), Math.max(a, level), v];
  });
  spans.push([Math.min(0, C.net), Math.max(0, C.net), C.net]);
  const names = [...parts.map((p) => p[0]), "net"];
  const label = `${ledger}: ` + parts.map(([k, v]) => `${k} ${usd(v, true)}`).join(", ") + `, net ${usd(C.net, true)} USDT`;
  chart(parent, {
    height: 270,
    label,
    make: (c) => {
      const shade = (k) => (k === spans.length - 1 ? c[ledger] : spans[k][2] >= 0 ? c.gain : c.loss);
      const part = (pick, seen, tag) => ({
        type: "bar",
        stack: "w",
        barWidth: "62%",
        silent: !seen,
        itemStyle: seen ? {} : { color: "transparent" },
        tooltip: { show: seen },
        data: spans.map((s, k) => ({ value: pick(s), itemStyle: seen ? { color: shade(k) } : { color: "transparent" } })),
        label: tag
          ? { show: true, position: "top", color: c.ink, fontSize: 11.5, formatter: (p) => usd(spans[p.dataIndex][2], true) }
          : { show: false },
      });
      const floor = part(([a, b]) => (a > 0 ? a : b < 0 ? b : 0), false);
      const up = part(([a, b]) => (b > 0 ? b - Math.max(a, 0) : 0), true),
        down = part(([a, b]) => (a < 0 ? a - Math.min(b, 0) : 0), true);
      const tags = {
        type: "line",
        data: spans.map((s) => s[1]),
        lineStyle: { opacity: 0 },
        symbol: "circle",
        symbolSize: 0.1,
        silent: true,
        label: {
          show: true,
          position: "top",
          color: c.ink,
          fontSize: small() ? 10.5 : 11.5,
          formatter: (p) => usd(spans[p.dataIndex][2], true),
        },
      };
      return {
        grid: { left: 8, right: 8, top: 26, bottom: 4, containLabel: true },
        tooltip: { ...tip(c, (p) => `${names[p.dataIndex]}: ${usd(spans[p.dataIndex][2], true)} USDT`, "item") },
        xAxis: { type: "category", data: names, ...flat(c), axisLabel: { color: c.muted, interval: 0, fontSize: small() ? 9.5 : 11.5 } },
        yAxis: { type: "value", ...flat(c, { axisLine: { show: false }, axisLabel: { formatter: (v) => num(v, 0) } }), splitNumber: 4 },
        series: [floor, up, down, tags],
      };
    },
  });
}
