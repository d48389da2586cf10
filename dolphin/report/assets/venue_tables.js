"use strict";
/* Orders and fills: tiles, tables and the section itself. */
function venueTiles() {
  const W = D.words.venue,
    net = VENUE.net;
  const side = (name, value, shade, looks) =>
    el("div", { class: looks || "bare" }, el("span", { class: "who" }, name), el("span", { class: "v " + (shade || "") }, value));
  const tile = (word, title, ...sides) =>
    el("dl", { class: "tile venue", style: { margin: 0 }, title: W[word][1] }, el("dt", {}, title), el("dd", {}, sides));
  const change = VENUE.end_balance - VENUE.start_balance,
    lost = Math.abs(VENUE.account_residual) >= 0.005;
  return el(
    "div",
    { class: "tiles" },
    tile(
      "difference",
      "Net, USDT",
      side("fills", usd(net.fills, true), tone(net.fills), "fills"),
      side("model", usd(net.model, true), tone(net.model), "champion"),
    ),
    tile("orders", "Orders and fills", side("orders", num(VENUE.orders, 0)), side("fills", num(VENUE.fills, 0))),
    tile(
      "refused",
      "Orders not taken",
      side("refused", num(VENUE.denied_total, 0), VENUE.denied_total ? "loss" : ""),
      side("rejected", num(VENUE.rejected, 0), VENUE.rejected ? "loss" : ""),
    ),
    tile(
      "residual",
      "Account, USDT",
      side("change", usd(change, true), tone(change)),
      side("unexplained", num(VENUE.account_residual, 2), lost ? "loss" : ""),
    ),
  );
}

function partsTable() {
  const notional = filled.reduce((s, row) => s + (row.trade ? row.trade.notional : 0), 0),
    rate = (v) => (notional ? (v / notional) * 1e4 : null);
  const row = (label, value, note) => ({ label, value, bps: rate(value), note });
  const rows = [
    row("Model net", VENUE.net.model, D.words.venue.model[1]),
    ...PARTS.map((part) => row(partName(part), VENUE.parts[part], D.words.parts[part][1])),
    row("Fills net", VENUE.net.fills, D.words.venue.fills[1]),
  ];
  const columns = [
    { key: "label", label: "Part", text: true, fixed: true },
    { ...money("USDT", "value"), fixed: true },
    { key: "bps", label: "bps", show: (v) => bps(v), tone: true, fixed: true, title: "of the model's entry notional" },
  ];
  if (!small()) columns.push({ key: "note", label: "What it is", text: true, wrap: true, fixed: true });
  return dataTable({ id: "venue-parts", caption: "From the model's net to the fills'", columns, rows });
}

function makerTable() {
  const rows = ["entries", "exits"].map((name) => ({ name, ...VENUE.maker[name] }));
  const none = VENUE.order_style === "market" ? "n/a" : "none filled";
  const columns = [
    { key: "name", label: "Side", text: true, fixed: true },
    { key: "share", label: "Measured", show: (v) => (v == null ? none : pct(v, 1, false)), fixed: true },
    { key: "assumed", label: "Assumed", show: (v) => pct(v, 0, false), fixed: true, title: "The rate that the model draws with" },
    ...["maker", "taker", "mixed", "none"].map((key) => ({ key, label: key, show: (v) => num(v, 0), fixed: true })),
  ];
  return dataTable({ id: "venue-maker", caption: "Maker share of entries and exits", columns, rows });
}

function venueTradesTable(jump) {
  const go = (v, row) =>
    row.trade
      ? el(
          "button",
          { type: "button", class: "link", "aria-label": `Show trade ${v} on the price chart`, onclick: () => jump(row.trade) },
          String(v),
        )
      : String(v);
  const columns = [
    { key: "trade_id", label: "#", text: true, show: go, title: "Show on the price chart" },
    { key: "t0", label: "Entry\n(UTC)", text: true, show: (v) => (v == null ? "n/a" : minute(v)), wide: small() },
    { key: "asset", label: "Asset", text: true },
    { key: "side", label: "Side", text: true, wide: small() },
    money("Fills\nUSDT", "fills_net"),
    money("Model\nUSDT", "model_net"),
    money("Difference\nUSDT", "difference"),
    ...PARTS.map((part) => money(partName(part), part, { title: D.words.parts[part][1] })),
    { key: "share", label: "Filled", show: (v) => pct(v, 1, false), title: "Quantity filled over the model's quantity" },
    { key: "liquidity", label: "Entry / exit", text: true },
    { key: "quantity_filled", label: "Quantity\nfilled", show: quantity, wide: true },
    { key: "quantity_model", label: "Quantity\nmodel", show: quantity, wide: true },
  ];
  const rows = filled.slice().sort((a, b) => Math.abs(b.difference) - Math.abs(a.difference) || a.trade_id - b.trade_id);
  const distinct = (name) => [...new Set(filled.map((row) => row[name]))].sort().map((v) => [v, v]);
  const filters = [
    { key: "asset", label: "Asset", all: "all", options: distinct("asset") },
    { key: "entry_liquidity", label: "Entry", all: "all", options: distinct("entry_liquidity") },
    { key: "exit_liquidity", label: "Exit", all: "all", options: distinct("exit_liquidity") },
    {
      key: "size",
      label: "Filled",
      all: "all",
      options: [
        ["full", "in full"],
        ["part", "in part"],
        ["none", "not at all"],
      ],
    },
  ];
  return dataTable({
    id: "venue-trades",
    caption: "Trades by fills and by the model",
    columns,
    rows,
    page: 25,
    filters,
    more: "all fields",
  });
}

/* Files of the run's folder, as links relative to this page; a name can never become another address. */
function venueFiles() {
  const links = Object.entries(VENUE.files).map(([label, name]) =>
    el("li", {}, el("a", { href: "./" + encodeURIComponent(name) }, label), el("span", { class: "muted" }, " " + name)),
  );
  const hashes = Object.entries(VENUE.hashes).map(([label, hash]) =>
    el("li", {}, label + " ", el("code", { title: hash }, String(hash).slice(0, 16))),
  );
  return el(
    "div",
    {},
    links.length ? el("ul", { class: "plain" }, links) : none("No further file was written."),
    hashes.length ? el("p", { class: "hint" }, "Two runs with the same hashes sent the same orders and got the same fills.") : null,
    el("ul", { class: "plain" }, hashes),
  );
}

function notTaken() {
  const rows = Object.entries(VENUE.denied).map(([name, n]) => ({ name, n, by: "our checks" }));
  if (VENUE.rejected) rows.push({ name: "all reasons", n: VENUE.rejected, by: "the venue" });
  const columns = [
    { key: "name", label: "Reason", text: true },
    { key: "by", label: "By", text: true },
    { key: "n", label: "Orders", show: (v) => num(v, 0) },
  ];
  return dataTable({ id: "venue-denied", caption: "Orders not taken", columns, rows, sort: ["n", true] });
}

function venueFacts() {
  const style = VENUE.order_style === "market" ? "market orders" : "resting (maker) orders",
    beside = VENUE.outside_trades;
  const sums =
    `Account: ${num(VENUE.start_balance, 2)} start ${signed(VENUE.realised)} realised ${signed(-VENUE.fees)} fees ` +
    `${signed(VENUE.funding)} funding = ${num(VENUE.end_balance, 2)} USDT.`;
  const rest = Math.abs(beside) >= 0.01 ? ` ${usd(beside, true)} USDT of its change lie outside the listed trades.` : "";
  return el(
    "p",
    { class: "hint", style: { marginTop: "8px" } },
    el("b", {}, VENUE.engine),
    ` \u00b7 ${style} \u00b7 latency ${num(VENUE.latency_ms, 0)} ms \u00b7 spread ${num(VENUE.spread_bps, 1)} bps. ${sums}${rest} ` +
      `Honest ledger: ${usd(X.costs.honest.net, true)} USDT on its own sizes.`,
  );
}
const signed = (x) => (x < 0 ? "\u2212 " : "+ ") + num(Math.abs(x), 2);

function venueSection() {
  if (!VENUE) return;
  const lines = el("div"),
    bridge = el("div"),
    table = venueTradesTable(jumpTo),
    equal = VENUE.parity.equal,
    close = num(VENUE.sum_error, 2) === "0.00";
  const words = [...Object.values(D.words.venue), ...Object.values(D.words.parts)];
  const bars = el(
    "select",
    { id: "venue-bars" },
    el("option", { value: "each" }, "by trade"),
    el("option", { value: "sum" }, "so far"),
  );
  bars.addEventListener("change", () => {
    ledgerView.bars = bars.value;
    drawChart(charts.find((item) => lines.contains(item.box)));
  });
  const refused = VENUE.denied_total || VENUE.rejected;
  section(
    "venue",
    "Orders and fills",
    venueTiles(),
    venueFacts(),
    el("p", { class: "callout parity" + (equal === true ? " good" : equal === false ? " bad" : ""), id: "parity" }, D.venue.parity),
    el(
      "details",
      {},
      el("summary", {}, "What these numbers mean"),
      el(
        "dl",
        { class: "words" },
        words.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
      ),
    ),
    grid(
      card(
        12,
        "Fills against the model",
        "Above: net so far, trade by trade. Below: fills minus model and what it is made of" +
          (ledgerSteps(small() ? 70 : 240).size > 1 ? "; each bar sums neighbouring trades." : "."),
        filled.length ? lines : none(noTrades),
        filled.length ? el("label", {}, "Bars", bars) : null,
      ),
      card(5, "From the model to the fills", "USDT, all trades.", bridge),
      card(
        7,
        "What the difference is made of",
        close
          ? "The parts add up to the difference of every trade."
          : `The parts miss a trade's difference by up to ${usd(VENUE.sum_error)} USDT.`,
        partsTable().body,
      ),
      card(
        refused ? 5 : 7,
        "Maker share",
        VENUE.order_style === "market"
          ? "Market orders never rest: nothing was measured."
          : "Resting fills alone count; mixed ones do not. Assumed: the rate of the model's draw.",
        makerTable().body,
      ),
      refused ? card(3, "Orders not taken", null, notTaken().body) : null,
      card(refused ? 4 : 5, "Files of this run", "Beside this page, in the run's folder.", venueFiles()),
      card(
        12,
        "Every trade in both ledgers",
        "Largest difference first; click a heading to sort. A trade's number shows it on the price chart.",
        table.body,
        table.controls,
      ),
    ),
  );
  if (filled.length) ledgersChart(lines);
  bridgeChart(bridge);
}
