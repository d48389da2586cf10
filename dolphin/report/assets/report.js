"use strict";
/* The page, top to bottom. */
function hero() {
  const side = (name, roi, size) =>
    el("span", { class: "side" }, el("small", {}, name), el("span", { class: `${size} ${tone(roi)}` }, pct(roi)));
  document
    .getElementById("verdict")
    .replaceChildren(
      side("honest", S.honest.roi, "big"),
      side("champion", S.roi, "mid"),
      el("small", {}, `${many(S.trades, "trade")}, ${many(S.days.length, "day")}`),
    );
  const span = S.days.length ? [el("b", {}, S.days[0] === S.days.at(-1) ? S.days[0] : `${S.days[0]} to ${S.days.at(-1)}`), " \u00b7 "] : [];
  const facts = [
    ...span,
    [
      many(S.universe.length, "asset"),
      S.bar_seconds ? num(S.bar_seconds, 0) + " s bars" : "unknown bar interval",
      many(S.bars, "bar"),
    ].join(" \u00b7 "),
    " \u00b7 profile ",
    el("b", {}, S.profile),
    ` \u00b7 ${X.direction < 0 ? "SHORT" : "LONG"} \u00b7 circuit breaker ${S.acb_mode} \u00b7 start ${usd(X.start_capital)} USDT`,
  ];
  if (X.venue) facts.push(" \u00b7 ", el("a", { href: "#venue" }, `fills ${usd(X.venue.net.fills, true)} USDT by ${X.venue.engine}`));
  document.getElementById("facts").append(...facts);
  document.getElementById("badges").append(...D.cautions.map((text) => el("span", { class: "badge" }, text)));
  const gap = S.roi - S.honest.roi,
    head = trades.length
      ? `On the same trades champion stands ${num(Math.abs(100 * gap), 1)} points ${gap < 0 ? "below" : "above"} honest. `
      : "";
  document.getElementById("ledgers").replaceChildren(el("b", {}, head), D.words.ledgers);
}

function tiles() {
  const H = X.figures.honest,
    C = X.figures.champion,
    E = S.exposure;
  const plain = (v) => num(v, 2),
    rows = [
      ["roi", S.honest.roi, S.roi, pct, true],
      ["sharpe", S.honest.sharpe, S.sharpe, plain, true],
      ["max_drawdown", S.honest.max_drawdown, S.max_drawdown, (v) => pct(v, 1, false)],
      ["profit_factor", S.honest.profit_factor, S.profit_factor, plain],
      ["win_rate", S.honest.win_rate, S.win_rate, (v) => pct(v, 1, false)],
      ["mean_trade_bps", H.mean_trade_bps, C.mean_trade_bps, bps, true],
      ["end_equity", H.end_equity, C.end_equity, usd],
      ["volatility", H.volatility, C.volatility, (v) => pct(v, 1, false)],
    ];
  const side = (name, v, show, toned) =>
    el("div", { class: name }, el("span", { class: "who" }, name), el("span", { class: "v " + (toned ? tone(v) : "") }, show(v)));
  const tile = ([k, h, c, show, toned]) =>
    el(
      "dl",
      { class: "tile", style: { margin: 0 }, title: D.words.meanings[k][1] },
      el("dt", {}, D.words.meanings[k][0]),
      el("dd", {}, side("honest", h, show, toned), side("champion", c, show, toned)),
    );
  const words = el(
    "details",
    {},
    el("summary", {}, "What these numbers mean"),
    el(
      "dl",
      { class: "words" },
      Object.values(D.words.meanings).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
    ),
  );
  const each = (show) => `honest ${show(H)}, champion ${show(C)}`;
  const facts =
    `In position ${pct(E.in_position, 0, false)} of bars; exposure while open ${num(E.mean_open, 2)} on average, ` +
    `${num(E.max, 2)} at most; longest losing streak ${each((l) => l.longest_losing_streak)}; ` +
    `longest time under water ${each((l) => lasting(l.longest_drawdown_bars * barMs))}.`;
  section(
    "overview",
    "Overview",
    el("div", { class: "tiles" }, rows.map(tile)),
    el("p", { class: "hint", style: { marginTop: "8px" } }, facts),
    words,
  );
}

function overTime() {
  const equity = el("div"),
    zoomHint = mouse
      ? "Drag to move, Ctrl + wheel to zoom, or use the slider; all charts over time move together."
      : "Use the slider; all charts over time move together.";
  section(
    "equity",
    "Equity",
    card(12, "Equity and drawdown", "Open positions count at what closing them would bring. Grey: no data. " + zoomHint, equity),
  );
  equityChart(equity);
  const names = Object.keys(D.prices),
    price = el("div"),
    signal = el("div");
  const total = (a) => S.by_asset[a] || { trades: 0, honest: { pnl: 0 } };
  names.sort((a, b) => total(b).trades - total(a).trades || (a < b ? -1 : 1));
  priceView.asset = names[0] || "";
  const choose = el(
    "select",
    { id: "asset" },
    names.map((a) => el("option", { value: a }, `${a} \u2013 ${many(total(a).trades, "trade")}, honest ${usd(total(a).honest.pnl, true)}`)),
  );
  const step = (by) => {
    choose.selectedIndex = (choose.selectedIndex + by + names.length) % names.length;
    pickAsset(choose.value);
  };
  const controls = [
    el("label", {}, "Asset", choose),
    el("button", { type: "button", onclick: () => step(-1), "aria-label": "Previous asset" }, "\u2190"),
    el("button", { type: "button", onclick: () => step(1), "aria-label": "Next asset" }, "\u2192"),
  ];
  choose.addEventListener("change", () => pickAsset(choose.value));
  section(
    "prices",
    "Entries and exits",
    card(
      12,
      "Price, entries and exits",
      "Triangles enter (down SHORT, up LONG), other marks leave by reason; the line between is green for an honest gain, red for a loss.",
      names.length ? price : none(noTrades),
      names.length ? controls : null,
      "price-card",
    ),
  );
  if (names.length) priceChart(price);
  section(
    "signal",
    "Signal",
    card(
      12,
      "vel_div, eigenvalue shares, exposure",
      "vel_div = velocity of the 50-bar share minus that of the 750-bar share. Entries: green honest gain, red loss. Rare spikes are cut." +
        (D.shares ? "" : " This day table carries no shares."),
      signal,
    ),
  );
  signalChart(signal);
}

function pickAsset(name) {
  priceView.asset = name;
  document.getElementById("asset").value = name;
  const item = charts.find((i) => document.getElementById("price-card").contains(i.box));
  item.box.setAttribute("aria-label", `Price of ${name} with ${many((S.by_asset[name] || { trades: 0 }).trades, "trade")}`);
  drawChart(item);
}
function jumpTo(t) {
  pickAsset(t.asset);
  const around = 60 * barMs;
  zoomTo(t.t0 - around, t.t1 + around);
  document.getElementById("price-card").scrollIntoView({ block: "center" });
}

function groups() {
  if (!trades.length) return section("returns", "Returns", card(12, "Trade returns", null, none(noTrades)));
  const boxes = Object.fromEntries(["returns", "asset", "reason", "bucket", "hour", "side"].map((k) => [k, el("div")]));
  const sides = Object.keys(X.by_direction).length,
    limit = 24,
    order = assetOrder(limit),
    whole = Object.keys(S.by_asset).length;
  const choose = el(
    "select",
    { id: "measure" },
    Object.entries(MEASURES).map(([k, [label]]) => el("option", { value: k }, label)),
  );
  choose.addEventListener("change", () => {
    measure.name = choose.value;
    charts.filter((i) => i.box.closest("#returns")).forEach(drawChart);
  });
  section(
    "returns",
    "Returns",
    grid(
      card(7, "Trade returns", "Honest sits left of champion by the costs that champion leaves out.", boxes.returns),
      card(5, "By exit reason", null, el("div", {}, boxes.reason, key()), el("label", {}, "Measure", choose)),
      card(
        4,
        "By asset",
        whole > limit ? `The ${limit / 2} best and the ${limit / 2} worst of ${whole}.` : `All ${whole} traded assets.`,
        boxes.asset,
      ),
      el(
        "div",
        { class: "w8 grid stack" },
        card(12, "By hour of entry (UTC)", null, boxes.hour),
        card(sides > 1 ? 7 : 12, "By signal bucket", "0 is the strongest vel_div, 3 the weakest.", boxes.bucket),
        sides > 1 ? card(5, "By side", null, boxes.side) : null,
      ),
    ),
  );
  returnsChart(boxes.returns);
  const assetsHeight = Math.max(140, order.length * 22 + 30),
    tall = small() ? 210 : Math.max(200, (assetsHeight - 96) / 2),
    hours = Array.from({ length: 24 }, (_, h) => String(h).padStart(2, "0"));
  groupChart(boxes.reason, { groups: S.by_reason, words: D.words.exits, height: 270, label: "Profit by exit reason" });
  groupChart(boxes.asset, { groups: S.by_asset, order, height: assetsHeight, label: "Profit by asset" });
  groupChart(boxes.hour, { groups: X.by_hour, order: hours, upright: true, height: tall, label: "Profit by hour of entry" });
  groupChart(boxes.bucket, {
    groups: S.by_bucket,
    order: ["0", "1", "2", "3"],
    names: { 0: "0 extreme", 1: "1 strong", 2: "2 moderate", 3: "3 weak" },
    upright: true,
    height: tall,
    label: "Profit by signal bucket",
  });
  if (sides > 1)
    groupChart(boxes.side, { groups: X.by_direction, order: ["SHORT", "LONG"], upright: true, height: tall, label: "Profit by side" });
}

function costs() {
  const boxes = LEDGERS.map(() => el("div"));
  section(
    "costs",
    "Costs",
    grid(
      ...LEDGERS.map((l, k) =>
        card(
          6,
          l === "honest" ? "Honest: what an exchange would have charged" : "Champion: with credits that no exchange pays",
          "USDT, from the price move of all trades to what is left.",
          boxes[k],
        ),
      ),
      card(12, "Cost table", "bps are of entry notional. Closed trades only.", costsTable().body),
    ),
  );
  LEDGERS.forEach((l, k) => costChart(boxes[k], l));
}

function calendar() {
  const box = el("div");
  section(
    "calendar",
    "Calendar",
    grid(
      card(12, "Return of each day", null, el("div", {}, box, key())),
      card(12, "Months", null, monthlyTable().body),
      card(12, "Days", "Click a heading to sort.", dailyTable().body),
    ),
  );
  daysChart(box);
}

function tradeList() {
  const table = tradesTable(jumpTo);
  section(
    "trade-list",
    "Trades",
    card(
      12,
      "Every trade",
      "A trade's number shows it on the price chart. Exit price, gross and fees are the champion's; honest figures use the same bars.",
      table.body,
      table.controls,
    ),
  );
}

function start() {
  [hero, tiles, overTime, groups, costs, venueSection, calendar, tradeList, dataQuality, settings].forEach((build) => build());
  content.append(
    el(
      "footer",
      {},
      `DOLPHIN ${S.version} \u00b7 ${S.git} \u00b7 trades ${S.trades_hash.slice(0, 16)} \u00b7 charts by Apache ECharts (Apache-2.0)`,
    ),
  );
  themeButton();
  document.getElementById("zoom-reset").addEventListener("click", () => setZoom(0, 100));
  drawAll();
  keepDrawn();
  root.dataset.ready = "yes";
}
start();
