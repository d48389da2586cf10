"use strict";
/* One table for all: sort by a button in the head, filters, pages. */
function dataTable({ id, caption, columns, rows, sort, page, filters, more }) {
  const state = { key: sort ? sort[0] : null, down: sort ? sort[1] : false, page: 0, wide: false, match: {} };
  const head = el("tr"),
    body = el("tbody"),
    note = el("span", { "aria-live": "polite" });
  const back = el("button", { type: "button", onclick: () => turn(-1) }, "Back");
  const next = el("button", { type: "button", onclick: () => turn(1) }, "Next");
  const shown = () => columns.filter((c) => state.wide || !c.wide);
  const read = (column, row) => (column.value ? column.value(row) : row[column.key]);

  function turn(by) {
    state.page += by;
    draw();
  }

  function sorted() {
    let kept = rows.filter((row) => Object.entries(state.match).every(([k, test]) => test(row, k)));
    const column = columns.find((c) => c.key === state.key);
    if (!column) return kept;
    const sign = state.down ? -1 : 1;
    return kept
      .map((row, k) => [read(column, row), k, row])
      .sort(([a, i], [b, j]) => {
        if (a == null || b == null) return a == null && b == null ? i - j : a == null ? 1 : -1;
        return (a < b ? -sign : a > b ? sign : 0) || i - j;
      })
      .map((item) => item[2]);
  }

  function order(column) {
    state.down = state.key === column.key ? !state.down : !column.text;
    state.key = column.key;
    state.page = 0;
    draw();
  }

  function drawHead() {
    head.replaceChildren(
      ...shown().map((c) => {
        const way = state.key === c.key ? (state.down ? "descending" : "ascending") : "none";
        return el(
          "th",
          { scope: "col", class: c.text ? "text" : null, "aria-sort": way, title: c.title },
          c.fixed ? el("span", {}, c.label) : el("button", { type: "button", "data-key": c.key }, c.label),
        );
      }),
    );
    head.querySelectorAll("button").forEach((b) =>
      b.addEventListener("click", () => {
        order(columns.find((c) => c.key === b.dataset.key));
        head.querySelector(`[data-key="${b.dataset.key}"]`).focus();
      }),
    );
  }

  function draw() {
    const all = sorted(),
      size = page || all.length || 1,
      last = Math.max(Math.ceil(all.length / size) - 1, 0);
    state.page = Math.min(Math.max(state.page, 0), last);
    const from = state.page * size,
      part = all.slice(from, from + size);
    drawHead();
    body.replaceChildren(
      ...part.map((row) =>
        el(
          "tr",
          {},
          shown().map((c) => {
            const value = read(c, row),
              text = c.show ? c.show(value, row) : value == null ? "n/a" : String(value);
            return el(
              "td",
              { class: [c.text ? "text" : "", c.wrap ? "wrap" : "", c.tone ? tone(value) : ""].join(" ").trim() || null },
              text,
            );
          }),
        ),
      ),
    );
    if (!part.length) body.append(el("tr", {}, el("td", { colspan: shown().length, class: "text muted" }, "Nothing to show.")));
    note.textContent = all.length ? `${num(from + 1, 0)}\u2013${num(from + part.length, 0)} of ${num(all.length, 0)}` : "0 of 0";
    back.disabled = state.page === 0;
    next.disabled = state.page === last;
  }

  const controls = (filters || []).map((f) => {
    const choose = el(
      "select",
      { id: `${id}-${f.key}` },
      el("option", { value: "" }, f.all),
      f.options.map(([value, label]) => el("option", { value }, label)),
    );
    choose.addEventListener("change", () => {
      if (choose.value === "") delete state.match[f.key];
      else state.match[f.key] = (row) => (f.test ? f.test(row, choose.value) : String(row[f.key]) === choose.value);
      state.page = 0;
      draw();
    });
    return el("label", {}, f.label, choose);
  });
  if (more) {
    const box = el("input", { type: "checkbox", id: `${id}-wide` });
    box.addEventListener("change", () => {
      state.wide = box.checked;
      draw();
    });
    controls.push(el("label", {}, box, more));
  }
  const table = el("table", { id }, el("caption", { hidden: true }, caption), el("thead", {}, head), body);
  const frame = el("div", { class: "scroll" + (page ? "" : " tall"), tabindex: 0, role: "region", "aria-label": caption }, table);
  draw();
  const pager = page && rows.length > page ? el("div", { class: "pager" }, back, next, note) : null;
  return { body: el("div", {}, frame, pager), controls };
}

const code = (text, length) => el("code", { title: text }, length ? String(text).slice(0, length) : text);
const money = (label, k, extra) => ({ key: k, label, show: (v) => usd(v, true), tone: true, ...extra });

function ledgerColumns(fields) {
  return fields.flatMap(([name, label, show, toned]) =>
    LEDGERS.map((ledger) => ({
      key: ledger + "_" + name,
      label: `${label}\n${ledger}`,
      tone: toned,
      show,
      value: (row) => row[ledger][name],
    })),
  );
}

function tradesTable(jump) {
  const plainNumber = (digits) => (v) => num(v, digits);
  const go = (v, t) =>
    el(
      "button",
      { type: "button", class: "link", "aria-label": `Show trade ${t.trade_id} on the price chart`, onclick: () => jump(t) },
      String(v),
    );
  const columns = [
    { key: "trade_id", label: "#", text: true, show: go, title: "Show on the price chart" },
    { key: "t0", label: "Entry\n(UTC)", text: true, show: (v) => minute(v) },
    {
      key: "t1",
      label: "Exit\n(UTC)",
      text: true,
      show: (v, t) => (minute(v).slice(0, 10) === minute(t.t0).slice(0, 10) ? clock(v) : minute(v).slice(5)),
    },
    { key: "asset", label: "Asset", text: true },
    { key: "side", label: "Side", text: true },
    { key: "entry_price", label: "Entry", show: sig },
    { key: "exit_price", label: "Exit", show: sig, title: "Exit price of the champion ledger, slippage included" },
    { key: "reason", label: "Reason", text: true },
    { key: "bars_held", label: "Bars\nheld" },
    { key: "honest_bps", label: "Honest\nbps", show: (v) => bps(v), tone: true },
    { key: "champion_bps", label: "Champion\nbps", show: (v) => bps(v), tone: true },
    money("Honest\nUSDT", "honest_pnl"),
    money("Champion\nUSDT", "net_pnl"),
    { key: "notional", label: "Notional", show: plainNumber(0) },
    { key: "leverage", label: "Leverage", show: plainNumber(2) },
    { key: "fraction", label: "Fraction", show: (v) => pct(v, 1, false) },
    { key: "vel_div", label: "vel_div", show: plainNumber(4) },
    { key: "bucket", label: "Bucket" },
    { key: "date", label: "Day", text: true, wide: true },
    { key: "entry_bar", label: "Entry bar", wide: true },
    { key: "exit_bar", label: "Exit bar", wide: true },
    { key: "strength", label: "Strength", show: plainNumber(3), wide: true },
    { key: "confidence", label: "Confidence", show: plainNumber(3), wide: true },
    { key: "dc", label: "Confirmation", text: true, wide: true },
    { key: "irp_alignment", label: "IRP\nalignment", show: plainNumber(3), wide: true },
    { key: "ars", label: "ARS", show: plainNumber(3), wide: true },
    { key: "gross_pnl", label: "Champion\ngross", show: (v) => usd(v, true), wide: true },
    { key: "fees", label: "Champion\nfees", show: plainNumber(2), wide: true },
    { key: "honest_capital_after", label: "Honest\ncapital", show: plainNumber(2), wide: true },
    { key: "capital_after", label: "Champion\ncapital", show: plainNumber(2), wide: true },
    { key: "boost", label: "Boost", show: plainNumber(3), wide: true },
    { key: "beta", label: "Beta", show: plainNumber(2), wide: true },
    { key: "mc_status", label: "Forewarner", text: true, wide: true },
    { key: "posture", label: "Posture", text: true, wide: true },
  ];
  const distinct = (name) => [...new Set(trades.map((t) => t[name]))].sort().map((v) => [v, v]);
  const filters = [
    { key: "asset", label: "Asset", all: "all", options: distinct("asset") },
    { key: "reason", label: "Exit", all: "all", options: distinct("reason") },
    {
      key: "outcome",
      label: "Outcome",
      all: "all",
      options: [
        ["gain", "honest gain"],
        ["loss", "honest loss"],
        ["flip", "gain only in champion"],
      ],
      test: (t, v) => (v === "gain" ? t.honest_ret > 0 : v === "loss" ? t.honest_ret <= 0 : t.net_pnl > 0 && t.honest_ret <= 0),
    },
  ];
  return dataTable({
    id: "trades",
    caption: "Trades",
    columns,
    rows: trades,
    sort: ["trade_id", false],
    page: 25,
    filters,
    more: "all fields",
  });
}

function dailyTable() {
  const missing = Object.fromEntries(X.quality.map((q) => [q.date, q.missing_minutes]));
  const rows = X.daily.map((d) => ({ ...d, missing: missing[d.date] || 0 }));
  const columns = [
    { key: "date", label: "Day", text: true },
    { key: "trades", label: "Trades" },
    ...ledgerColumns([
      ["return", "Return", (v) => pct(v, 2), true],
      ["pnl", "USDT", (v) => usd(v, true), true],
      ["drawdown", "Drawdown", (v) => pct(v, 1, false)],
      ["equity", "Equity", (v) => num(v, 0)],
    ]),
    { key: "bars", label: "Bars", show: (v) => num(v, 0) },
    { key: "missing", label: "Missing\nminutes", show: (v) => num(v, 0) },
  ];
  return dataTable({ id: "daily", caption: "Days", columns, rows, sort: ["date", false] });
}

function monthlyTable() {
  const columns = [
    { key: "month", label: "Month", text: true },
    { key: "days", label: "Days" },
    { key: "trades", label: "Trades" },
    ...ledgerColumns([
      ["return", "Return", (v) => pct(v, 2), true],
      ["pnl", "USDT", (v) => usd(v, true), true],
      ["drawdown", "Drawdown", (v) => pct(v, 1, false)],
    ]),
  ];
  return dataTable({ id: "monthly", caption: "Months", columns, rows: X.monthly, sort: ["month", false] });
}

function costsTable() {
  const names = {
    price_move: "Price move",
    credits: "Credits",
    slippage: "Spread and slippage",
    fees: "Fees",
    funding: "Funding",
    net: "Net",
  };
  const rows = Object.entries(names).map(([k, label]) => ({
    label,
    ...Object.fromEntries(
      LEDGERS.flatMap((l) => [
        [l, X.costs[l][k]],
        [l + "_bps", X.costs[l][k + "_bps"]],
      ]),
    ),
  }));
  const columns = [{ key: "label", label: "USDT", text: true, fixed: true }];
  for (const ledger of LEDGERS) {
    columns.push({ ...money(ledger, ledger), fixed: true });
    columns.push({ key: ledger + "_bps", label: "bps", show: (v) => bps(v), tone: true, fixed: true, title: "of entry notional" });
  }
  return dataTable({ id: "costs", caption: "Costs", columns, rows });
}
