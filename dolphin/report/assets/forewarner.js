"use strict";
/* The forewarner's calibration report, top to bottom. */
const F = D.found,
  W = D.facts,
  LATER = F.tests.later,
  SAME = F.tests.same;
const prob = (x) => (x == null ? "n/a" : num(x, 2));
const axisLook = (c, name, extra) => ({
  type: "value",
  name,
  nameLocation: "middle",
  nameTextStyle: { color: c.muted },
  axisLine: { lineStyle: { color: c.line } },
  axisTick: { show: false },
  splitLine: { lineStyle: { color: c.grid } },
  ...extra,
  axisLabel: { color: c.muted, fontSize: 11, ...(extra || {}).axisLabel },
});

function warnHero() {
  const tone = LATER.beats && F.calibrated ? "gain" : "loss";
  document
    .getElementById("verdict")
    .replaceChildren(
      el("span", { class: "side" }, el("small", {}, "skill on later days"), el("span", { class: "big " + tone }, pct(LATER.skill, 0))),
      el("small", {}, D.verdict),
    );
  const pool = ([from, to, n]) => `${from} to ${to} (${many(n, "day")})`;
  document
    .getElementById("facts")
    .append(
      `fitted on trials over ${pool(W.earlier)} \u00b7 asked about trials over `,
      el("b", {}, pool(W.later)),
      ` \u00b7 ${many(W.trials, "trial")} of ${many(W.path_days, "day")}, blocks of ${num(W.block_days, 1)} days on average`,
    );
  document.getElementById("badges").append(...D.cautions.map((text) => el("span", { class: "badge" }, text)));
  document
    .getElementById("ledgers")
    .replaceChildren(
      el("b", {}, "Catastrophe: honest max drawdown above 40 % or ROI below \u221230 %. "),
      "Brier score = mean of (probability \u2212 outcome)\u00b2, 0 is perfect. Skill = 1 \u2212 Brier / Brier of the tested trials' own rate, " +
        "which nobody could know beforehand; to beat the base rate is to beat both that constant and the rate known from earlier trials.",
    );
}

function warnTiles() {
  const side = (name, who, text) => el("div", { class: name }, el("span", { class: "who" }, who), el("span", { class: "v" }, text));
  const tile = (title, a, b, hint) =>
    el(
      "dl",
      { class: "tile", style: { margin: 0 }, title: hint },
      el("dt", {}, title),
      el("dd", {}, side("honest", "later days", a), side("champion", "same days", b)),
    );
  const each = (key, show) => [show(LATER[key]), show(SAME[key])];
  const four = (x) => num(x, 4),
    share = (x) => pct(x, 1, false);
  const range = LATER.skill_low == null ? "" : `Skill on later days lies between ${pct(LATER.skill_low, 0)} and ${pct(LATER.skill_high, 0)} (90 %, starting days drawn again). `;
  section(
    "overview",
    "Overview",
    el(
      "div",
      { class: "tiles" },
      tile("Brier score", ...each("brier", four), "of the calibrated probabilities"),
      tile("Brier of their own rate", ...each("brier_own_rate", four), "the best constant, known only afterwards"),
      tile("Brier of the known rate", ...each("brier_known_rate", four), "the rate of the trials that were fitted"),
      tile("Skill", ...each("skill", (x) => pct(x, 0)), "1 \u2212 Brier / Brier of their own rate"),
      tile("Catastrophes", ...each("rate", share)),
      tile("Trials tested", ...each("trials", (x) => num(x, 0))),
    ),
    el(
      "p",
      { class: "hint", style: { marginTop: "8px" } },
      range + `Without the market condition the Brier score on later days is ${num(F.tests.later_without_condition.brier, 4)}. ` +
        "Same days: other trials over the days of the fit; the gap between the two columns is what new days cost.",
    ),
  );
}

function reliabilityChart(parent) {
  const sets = [
    ["later days", F.reliability.later, "honest"],
    ["same days", F.reliability.same, "champion"],
  ];
  const said = F.reliability.later.map((r) => `${prob(r.probability)} came true ${prob(r.observed)}`).join(", ");
  chart(parent, {
    height: small() ? 320 : 450,
    label: `Reliability: said against observed. Later days: ${said}.`,
    make: (c) => ({
      grid: { left: 56, right: 20, top: 34, bottom: 46 },
      legend: legend(c, sets.map((s) => s[0])),
      tooltip: tip(c, (p) => {
        const r = p.data.bin;
        return r ? `<b>${esc(p.seriesName)}</b><br>said ${prob(r.probability)}, observed ${prob(r.observed)}<br>95 % ${prob(r.low)} to ${prob(r.high)}<br>${many(r.trials, "trial")}` : "";
      }, "item"),
      xAxis: axisLook(c, "probability said", { min: 0, max: 1, nameGap: 28 }),
      yAxis: axisLook(c, "share that ended so", { min: 0, max: 1, nameGap: 38 }),
      series: [
        line("calibrated", 0, [[0, 0], [1, 1]], c.muted, { silent: true, lineStyle: { width: 1, color: c.muted, type: "dashed" } }),
        ...sets.flatMap(([name, rows, look]) => [
          line(name, 0, rows.flatMap((r) => [[r.probability, r.low], [r.probability, r.high], [r.probability, null]]), c[look], {
            silent: true,
            lineStyle: { width: 1.3, color: c[look], opacity: 0.7 },
          }),
          line(name, 0, rows.map((r) => ({ value: [r.probability, r.observed], bin: r })), c[look], {
            showSymbol: true,
            symbolSize: (_, p) => 5 + 13 * Math.sqrt(p.data.bin.trials / Math.max(...rows.map((r) => r.trials))),
            lineStyle: { width: 1.2, color: c[look], type: look === "champion" ? [5, 3] : "solid" },
          }),
        ]),
      ],
    }),
  });
}

function curveChart(parent) {
  const P = F.curve.points,
    now = F.curve.now;
  const shade = { OK: "gain", ORANGE: "champion", RED: "loss" };
  chart(parent, {
    height: 380,
    label: `Probability and envelope score of the configuration against max_leverage; now ${prob(now.catastrophic_probability)}, ${now.mc_status}`,
    make: (c) => ({
      grid: [
        { left: 56, right: 20, top: 34, height: 170 },
        { left: 56, right: 20, top: 236, height: 96 },
      ],
      tooltip: tip(c, (p) => {
        const q = P[p.dataIndex];
        return q ? `max_leverage ${num(q.max_leverage, 2)}<br>probability ${prob(q.catastrophic_probability)}<br>envelope score ${prob(q.envelope_score)}<br><b>${q.mc_status}</b>` : "";
      }, "item"),
      xAxis: [
        axisLook(c, "", { gridIndex: 0, min: 1, max: 10, axisLabel: { show: false } }),
        axisLook(c, "max_leverage (times the day's boost)", { gridIndex: 1, min: 1, max: 10, nameGap: 28 }),
      ],
      yAxis: [
        axisLook(c, "", { gridIndex: 0, min: 0, max: 1 }),
        axisLook(c, "", { gridIndex: 1, splitNumber: 2, min: (v) => Math.min(-1.5, Math.floor(v.min)) }),
      ],
      title: [
        { text: "probability of a catastrophe", top: 8, left: 50, textStyle: { fontSize: 12, fontWeight: 500, color: c.muted } },
        { text: "envelope score", top: 212, left: 50, textStyle: { fontSize: 12, fontWeight: 500, color: c.muted } },
      ],
      series: ["catastrophic_probability", "envelope_score"].map((key, k) =>
        line(key, k, P.map((q) => ({ value: [q.max_leverage, q[key]], itemStyle: { color: c[shade[q.mc_status]] } })), c.muted, {
          showSymbol: true,
          symbolSize: 7,
          lineStyle: { width: 1, color: c.muted },
          markLine: {
            silent: true,
            symbol: "none",
            lineStyle: { color: c.muted, type: "dotted" },
            label: { position: "insideEndTop", color: c.muted, fontSize: 10, formatter: (p) => p.name },
            data: k
              ? [{ yAxis: 0, name: "ORANGE below" }, { yAxis: -1, name: "RED below" }]
              : [{ yAxis: 0.1, name: "ORANGE above" }, { yAxis: 0.25, name: "RED above" }],
          },
        }),
      ),
    }),
  });
}

function importanceChart(parent) {
  const rows = [...F.importance].reverse();
  chart(parent, {
    height: Math.max(160, rows.length * 22 + 50),
    label: "Loss of Brier score when a feature is shuffled: " + F.importance.slice(0, 4).map((r) => `${r.name} ${num(r.loss, 4)}`).join(", "),
    make: (c) => ({
      grid: { left: 128, right: 56, top: 8, bottom: 24 },
      tooltip: tip(c, (p) => `${esc(p.name)}: ${num(p.value, 4, true)}`, "item"),
      xAxis: axisLook(c, "", { splitNumber: 3 }),
      yAxis: {
        type: "category",
        data: rows.map((r) => r.name),
        axisLabel: { color: c.muted, fontSize: 11 },
        axisLine: { lineStyle: { color: c.line } },
        axisTick: { show: false },
      },
      series: [
        {
          type: "bar",
          data: rows.map((r) => ({ value: r.loss, itemStyle: { color: r.condition ? c.series_b : c.honest } })),
          label: { show: true, position: "right", color: c.muted, fontSize: 11, formatter: (p) => num(p.value, 4) },
          barMaxWidth: 14,
        },
      ],
    }),
  });
}

function warnTables() {
  const share = (v) => pct(v, 1, false);
  const gate = dataTable({
    id: "gate-table",
    caption: "Later trials by status",
    columns: [
      { key: "status", label: "Status", text: true, fixed: true },
      { key: "trials", label: "Later trials", show: (v) => num(v, 0), fixed: true },
      { key: "catastrophic", label: "Ended in a catastrophe", show: share, fixed: true },
    ],
    rows: F.gate,
  });
  const envelope = dataTable({
    id: "envelope",
    caption: "Envelope on later days",
    columns: [
      { key: "name", label: "Later trials", text: true, fixed: true },
      { key: "trials", label: "Count", show: (v) => num(v, 0), fixed: true },
      { key: "below_0", label: "Score below 0", show: share, fixed: true },
      { key: "below_minus_1", label: "Below \u22121", show: share, fixed: true },
    ],
    rows: [
      { name: "went well", ...F.envelope.shares.well },
      { name: "others", ...F.envelope.shares.others },
    ],
  });
  return [gate.body, envelope.body];
}

function binTable() {
  const two = (v) => prob(v);
  const rows = ["later", "same"].flatMap((set) => F.reliability[set].map((r) => ({ set: set + " days", span: `${num(r.from, 1)}\u2013${num(r.to, 1)}`, ...r })));
  const columns = [
    { key: "set", label: "Trials", text: true },
    { key: "span", label: "Bin", text: true },
    { key: "trials", label: "Count", show: (v) => num(v, 0) },
    { key: "probability", label: "Said", show: two },
    { key: "observed", label: "Observed", show: two },
    { key: "low", label: "95 %", show: (v, r) => `${two(v)}\u2013${two(r.high)}`, fixed: true },
  ];
  return dataTable({ id: "bins", caption: "Reliability by bin", columns, rows }).body;
}

function outcomeTable() {
  const rows = ["earlier", "later"].map((name) => ({ name: name + " days", ...F.outcomes[name] }));
  const quartiles = (key, label, plus) =>
    [5, 50, 95].map((p, k) => ({
      key: key + p,
      label: `${label}\n${p} %`,
      value: (r) => r[key][2 * k],
      show: (v) => pct(v, 0, plus),
      tone: plus,
      fixed: true,
    }));
  const columns = [
    { key: "name", label: "Trials over", text: true, fixed: true },
    { key: "trials", label: "Count", show: (v) => num(v, 0), fixed: true },
    { key: "catastrophic", label: "Catastrophic", show: (v) => pct(v, 1, false), fixed: true },
    { key: "went_well", label: "Went well", show: (v) => pct(v, 1, false), fixed: true },
    ...quartiles("roi", "ROI", true),
    ...quartiles("max_drawdown", "Drawdown", false),
    { key: "trades", label: "Trades\nmedian", show: (v) => num(v, 0), fixed: true },
  ];
  return dataTable({ id: "outcomes", caption: "Outcomes of the trials", columns, rows }).body;
}

function warnSections() {
  const boxes = Object.fromEntries(["reliability", "curve", "importance"].map((k) => [k, el("div")]));
  const [gate, envelope] = warnTables();
  const now = F.curve.now;
  section(
    "reliability",
    "Reliability",
    grid(
      card(7, "Said against observed", "On the dashed line a probability is what happens. Bars: 95 % by counts alone; dots grow with the trials.", boxes.reliability),
      card(5, "By bin", null, binTable()),
    ),
  );
  section(
    "gate",
    "The gate",
    grid(
      card(6, "Later trials by status", "What the engine's thresholds would have made of them. OK should end in few catastrophes.", gate),
      card(6, "Envelope on later days", `Fitted on ${many(F.envelope.fitted_on, "trial")} that went well; of those over later days 5 % should score below 0.`, envelope),
      card(
        7,
        `This configuration: ${now.mc_status}, probability ${prob(now.catastrophic_probability)}, score ${prob(now.envelope_score)}`,
        `The model in use, with the condition of ${now.condition_date}. Colours: green OK, amber ORANGE, red RED.`,
        boxes.curve,
      ),
      card(5, "What it goes by", "Brier score lost on later days when a feature is shuffled. Blue: settings, teal: market condition.", F.importance.length ? boxes.importance : none("No classifier was fitted.")),
    ),
  );
  section("trials", "Trials", card(12, "How the trials ended", "Honest ledger; columns are percentiles.", outcomeTable()));
  reliabilityChart(boxes.reliability);
  curveChart(boxes.curve);
  if (F.importance.length) importanceChart(boxes.importance);
}

function warnRecords() {
  const pairs = [
    ["table", W.table],
    ["base configuration", W.config_hash],
    ["seed", W.seed],
    ["code of the trials", W.code],
    ["version", W.version],
  ];
  const data = dataTable({
    id: "data-hashes",
    caption: "Day tables",
    columns: [
      { key: "0", label: "Day", text: true },
      { key: "1", label: "sha256", text: true, show: (v) => code(v, 24), fixed: true },
    ],
    rows: W.data,
    page: 10,
  });
  const ranges = dataTable({
    id: "ranges",
    caption: "Envelope of configurations",
    columns: [
      { key: "0", label: "Setting", text: true, fixed: true },
      { key: "1", label: "from", fixed: true },
      { key: "2", label: "to", fixed: true },
    ],
    rows: W.envelope,
  });
  section(
    "records",
    "Records",
    grid(
      card(5, "What was varied", "Sobol points; all other settings are the base configuration's.", ranges.body),
      card(7, "Days", null, data.body),
      card(12, "Provenance", null, el("dl", { class: "words" }, pairs.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, code(v, 32))]))),
      card(12, "Limits", null, el("ul", { class: "plain" }, D.limits.map((text) => el("li", {}, text)))),
    ),
  );
}

[warnHero, warnTiles, warnSections, warnRecords].forEach((build) => build());
content.append(el("footer", {}, `DOLPHIN ${W.version} \u00b7 table ${W.table.slice(0, 16)} \u00b7 charts by Apache ECharts (Apache-2.0)`));
themeButton();
drawAll();
keepDrawn();
root.dataset.ready = "yes";
