"use strict";
/* Equity, price and signal over time. */
function equityChart(parent) {
  const E = D.equity,
    at = (name) => points(E.i, E[name]),
    down = (name) => at(name).map(([t, v]) => [t, v == null ? null : -v]);
  const honest = at("honest"),
    champion = at("champion"),
    fall = { honest: down("honest_drawdown"), champion: down("champion_drawdown") };
  const ends = LEDGERS.map((l) => `${l} ends at ${usd(X.figures[l].end_equity)} USDT`).join(", ");
  const depths = `honest ${pct(S.honest.max_drawdown, 1, false)}, champion ${pct(S.max_drawdown, 1, false)}`;
  const label = `Equity over time from ${usd(X.start_capital)} USDT: ${ends}. Deepest drawdown: ${depths}.`;
  chart(parent, {
    height: small() ? 380 : 460,
    label,
    timed: true,
    make: (c) => {
      const bottom = small() ? 290 : 350;
      const show = (ps) => {
        const by = Object.fromEntries(ps.filter((p) => p.value && p.value[1] != null).map((p) => [p.seriesName + p.axisIndex, p.value]));
        if (!by.honest0) return "";
        const fallen = (name) => (by[name + "1"] ? pct(by[name + "1"][1], 1) : "");
        const cells = (name) => [name, num(by[name + "0"][1], 0), pct(by[name + "0"][1] / X.start_capital - 1, 2), fallen(name)];
        const row = (texts) => `<tr>${texts.map((text) => `<td>${text}</td>`).join("")}</tr>`;
        const table = [["", "USDT", "return", "drawdown"], ...LEDGERS.map(cells)].map(row).join("");
        return `<b>${minute(by.honest0[0])} UTC</b><table>${table}</table>`;
      };
      return {
        ...timeFrame(
          c,
          [
            [34, bottom - 82],
            [bottom - 24, 70],
          ],
          [{ axisLabel: { formatter: (v) => num(v, 0) } }, { max: 0, splitNumber: 2, axisLabel: { formatter: (v) => pct(v, 0, false) } }],
        ),
        tooltip: tip(c, show),
        legend: legend(c, ["honest", "champion"]),
        series: [
          line("champion", 0, champion, c.champion, { lineStyle: { width: 1.4, color: c.champion, type: [5, 3] } }),
          line("honest", 0, honest, c.honest, {
            lineStyle: { width: 2, color: c.honest },
            markArea: bands(c),
            markLine: {
              silent: true,
              symbol: "none",
              label: { show: true, position: "insideEndTop", formatter: "start", color: c.muted, fontSize: 11 },
              lineStyle: { color: c.muted, type: "dotted" },
              data: [{ yAxis: X.start_capital }],
            },
          }),
          line("champion", 1, fall.champion, c.champion, { lineStyle: { width: 1, color: c.champion, type: [5, 3] } }),
          line("honest", 1, fall.honest, c.honest, {
            lineStyle: { width: 1, color: c.honest },
            areaStyle: { color: c.honest, opacity: 0.16 },
          }),
        ],
      };
    },
  });
}

const EXIT_LOOK = {
  FIXED_TP: ["circle", "gain"],
  MAX_HOLD: ["rect", "champion"],
  STOP_LOSS: ["diamond", "loss"],
  STALE_PRICE: ["diamond", "muted"],
  HIBERNATE_HALT: ["roundRect", "loss"],
};
const look = (reason) => EXIT_LOOK[reason] || ["pin", "series_a"];
const arrow = (t) => (t.direction < 0 ? 180 : 0);

function tradeTip(t) {
  return (
    `<b>#${t.trade_id} ${t.side} ${esc(t.asset)}</b>` +
    `<br>${minute(t.t0)} \u2192 ${minute(t.t1)} UTC (${many(t.bars_held, "bar")})` +
    `<br>${sig(t.entry_price)} \u2192 ${sig(t.exit_price)}, ${esc(t.reason)}` +
    `<br>honest ${bps(t.honest_bps)} bps (${usd(t.honest_pnl, true)} USDT)` +
    `<br>champion ${bps(t.champion_bps)} bps (${usd(t.net_pnl, true)} USDT)` +
    `<br>vel_div ${num(t.vel_div, 4)}, leverage ${num(t.leverage, 2)}`
  );
}

const priceView = { asset: "" };
function priceChart(parent) {
  const open = X.open_position;
  return chart(parent, {
    height: small() ? 340 : 420,
    timed: true,
    label: "Price of the chosen asset with entries and exits",
    make: (c) => {
      const name = priceView.asset,
        P = D.prices[name],
        mine = trades.filter((t) => t.asset === name);
      const prices = P ? points(P.i, P.p) : [];
      const held = (good) =>
        mine
          .filter((t) => t.honest_ret > 0 === good)
          .flatMap((t) => [
            [t.t0, t.entry_price],
            [t.t1, t.exit_price],
            [t.t1, null],
          ]);
      const reasons = [...new Set(mine.map((t) => t.reason))].sort();
      const dots = (series) => ({
        type: "scatter",
        z: 5,
        cursor: "pointer",
        ...series,
        tooltip: { formatter: (p) => tradeTip(p.data.trade) },
      });
      const entries = mine.map((t) => ({ value: [t.t0, t.entry_price], trade: t, symbolRotate: arrow(t) }));
      const series = [
        line(name, 0, prices, c.muted, { lineStyle: { width: 1.3, color: c.muted }, markArea: bands(c) }),
        line("gain", 0, held(true), c.gain, { lineStyle: { width: 2.4, color: c.gain }, silent: true }),
        line("loss", 0, held(false), c.loss, { lineStyle: { width: 2.4, color: c.loss }, silent: true }),
        dots({
          name: "entry",
          symbol: "triangle",
          symbolSize: 11,
          itemStyle: { color: c.ink, borderColor: c.card, borderWidth: 1.5 },
          data: entries,
        }),
        ...reasons.map((reason) =>
          dots({
            name: reason,
            symbol: look(reason)[0],
            symbolSize: 9,
            itemStyle: { color: c[look(reason)[1]], borderColor: c.card, borderWidth: 1.5 },
            data: mine.filter((t) => t.reason === reason).map((t) => ({ value: [t.t1, t.exit_price], trade: t })),
          }),
        ),
      ];
      if (open && open.asset === name)
        series.push({
          type: "scatter",
          name: "still open",
          z: 5,
          symbol: "emptyTriangle",
          symbolSize: 12,
          symbolRotate: open.direction < 0 ? 180 : 0,
          itemStyle: { color: c.champion },
          data: [[timeAt(open.entry_bar), open.entry_price]],
        });
      return {
        ...timeFrame(c, [[34, (small() ? 340 : 420) - 94]], [{ axisLabel: { formatter: sig } }]),
        tooltip: tip(c, null, "item"),
        legend: legend(c, [name, "gain", "loss", "entry", ...reasons, ...(open && open.asset === name ? ["still open"] : [])], {
          type: "scroll",
          right: 8,
        }),
        series,
      };
    },
  });
}

/* Limits of the vel_div axis: nearly all of the line and every threshold; rare spikes are cut. */
function signalRange() {
  const v = D.signal.vel_div
    .filter((x) => x != null)
    .map(Math.abs)
    .sort((a, b) => a - b);
  const levels = Object.values(X.thresholds).flat().map(Math.abs),
    wide = v.length ? v[Math.floor(0.97 * (v.length - 1))] : 0;
  return 2 * niceStep(2 * Math.max(1.3 * Math.max(...levels), wide), 4);
}

function signalChart(parent) {
  const range = signalRange(),
    lines = points(D.signal.i, D.signal.vel_div),
    H = D.shares,
    Z = D.exposure;
  const sides = [...new Set([X.direction < 0 ? "SHORT" : "LONG", ...trades.map((t) => t.side)])];
  const levels = sides.flatMap((side) =>
    X.thresholds[side].map((v, k) => ({ yAxis: v, name: num(v, 2), said: `${side} ${k ? "full" : "from"} ${num(v, 2)}` })),
  );
  const exposure = points(Z.i, Z.exposure),
    top = H
      ? [
          [52, 170],
          [262, 120],
          [422, 70],
        ]
      : [
          [52, 190],
          [286, 90],
        ];
  const said = levels.map((l) => l.said).join(", ");
  const label = `vel_div with the thresholds ${said}${H ? ", shares of the largest eigenvalue" : ""} and exposure over time`;
  chart(parent, {
    height: top.at(-1)[0] + top.at(-1)[1] + 58,
    label,
    timed: true,
    make: (c) => {
      const shade = [c.series_a, c.series_b, c.champion, c.honest],
        last = top.length - 1;
      const axes = [{ name: "vel_div", min: -range, max: range, axisLabel: { formatter: (v) => num(v, 2) } }];
      if (H) axes.push({ name: "share of the largest eigenvalue", axisLabel: { formatter: (v) => num(v, 2) } });
      axes.push({
        name: "exposure (notional / capital, short below 0)",
        splitNumber: 2,
        scale: false,
        axisLabel: { formatter: (v) => num(v, 1) },
      });
      const series = [
        line("vel_div", 0, lines, c.muted, {
          lineStyle: { width: 0.8, color: c.muted, opacity: 0.5 },
          markArea: bands(c),
          markLine: {
            silent: true,
            symbol: "none",
            label: { position: "end", formatter: "{b}", color: c.loss, fontSize: 11 },
            lineStyle: { color: c.loss, type: "dashed", width: 1 },
            data: levels,
          },
        }),
        {
          type: "scatter",
          name: "entry",
          itemStyle: { color: c.gain },
          xAxisIndex: 0,
          yAxisIndex: 0,
          symbol: "triangle",
          symbolSize: 8,
          clip: true,
          z: 5,
          data: trades.map((t) => ({
            value: [t.t0, Math.max(-range, Math.min(range, t.vel_div))],
            trade: t,
            symbolRotate: arrow(t),
            itemStyle: { color: t.honest_ret > 0 ? c.gain : c.loss },
          })),
          tooltip: { formatter: (p) => tradeTip(p.data.trade) },
        },
      ];
      if (H)
        D.windows.forEach((w, k) =>
          series.push(line("share " + w, 1, points(H.i, H[w]), shade[k], { lineStyle: { width: 1.2, color: shade[k] } })),
        );
      series.push(
        line("exposure", last, exposure, c.honest, {
          step: "end",
          lineStyle: { width: 1, color: c.honest },
          areaStyle: { color: c.honest, opacity: 0.2 },
        }),
      );
      return {
        ...timeFrame(c, top, axes, small() ? 46 : 52, "none"),
        tooltip: tip(c, null, "item"),
        legend: legend(c, ["vel_div", "entry", ...(H ? D.windows.map((w) => "share " + w) : [])], { type: "scroll", right: 8 }),
        series,
      };
    },
  });
}
