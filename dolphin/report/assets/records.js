"use strict";
/* Sections of text and tables: data, refusals, settings, limits. */
const content = document.getElementById("content"),
  nav = document.getElementById("nav");

function section(id, title, ...children) {
  nav.append(el("a", { href: "#" + id }, title));
  content.append(el("section", { class: "block", id, "aria-labelledby": id + "-h" }, el("h2", { id: id + "-h" }, title), ...children));
}
const grid = (...children) => el("div", { class: "grid" }, ...children);
const none = (text) => el("p", { class: "empty" }, text);
const noTrades = "No trade was made; the data section says how often and why nothing was entered.";

function refusals() {
  const rows = Object.entries(X.refusals).sort((a, b) => b[1] - a[1]),
    total = rows.reduce((s, r) => s + r[1], 0);
  if (!total) return none("No counts were recorded.");
  const bar = (n) => el("span", { class: "meter", style: { width: Math.max((100 * n) / rows[0][1], 0.5) + "%" } });
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      { class: "meters" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ["Reason", "", "Bars", "Share"].map((t) => el("th", { scope: "col" }, el("span", {}, t))),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map(([name, n]) =>
          el(
            "tr",
            {},
            el("td", { class: "wrap", title: name }, D.words.refusals[name] || name),
            el("td", {}, bar(n)),
            el("td", {}, num(n, 0)),
            el("td", {}, pct(n / total, 1, false)),
          ),
        ),
      ),
    ),
  );
}

function coverage() {
  const skipped = S.skipped_days.map((d) => ({ date: d.date, why: d.why })),
    rows = [...X.quality, ...skipped].sort((a, b) => (a.date < b.date ? -1 : 1));
  if (!rows.length) return none("No record of data quality.");
  const cells = rows.flatMap((q) => {
    const t0 = Date.parse(q.date + "T00:00:00Z"),
      track = el("span", { class: "track" + (q.why ? " none" : "") });
    for (const [a, b] of q.missing || [])
      track.append(el("span", { class: "hole", style: { left: (100 * (a - t0)) / DAY + "%", width: (100 * (b - a)) / DAY + "%" } }));
    const spans = (q.missing || []).map(([a, b]) => `${clock(a)}\u2013${clock(b)}`);
    return [
      el("span", {}, q.date),
      track,
      el(
        "span",
        {},
        q.why
          ? "skipped"
          : spans.length
            ? "missing " + spans.slice(0, 2).join(", ") + (spans.length > 2 ? ` and ${spans.length - 2} more` : "")
            : q.bars < q.expected
              ? many(q.expected - q.bars, "bar") + " short"
              : "complete",
      ),
    ];
  });
  return el(
    "div",
    { class: "scroll cover-box", tabindex: 0, role: "region", "aria-label": "Coverage of each day" },
    el("div", { class: "cover" }, cells),
  );
}

function dataQuality() {
  const holes = X.quality.flatMap((q) => q.missing.map(([a, b]) => ({ date: q.date, a, b }))),
    sums = {};
  X.quality.forEach((q) =>
    Object.entries(q.counts).forEach(([k, n]) => {
      sums[k] = (sums[k] || 0) + n;
    }),
  );
  const found = Object.entries(sums)
    .map(([k, n]) => `${k} ${num(n, 0)}`)
    .join("; ");
  const gaps = dataTable({
    id: "gaps",
    caption: "Missing minutes",
    rows: holes,
    sort: ["a", false],
    columns: [
      { key: "date", label: "Day", text: true },
      { key: "a", label: "From (UTC)", text: true, show: clock },
      { key: "b", label: "To (UTC)", text: true, show: (v) => clock(v) },
      { key: "length", label: "Length", value: (h) => h.b - h.a, show: lasting },
    ],
  });
  const skipped = dataTable({
    id: "skipped",
    caption: "Skipped days",
    rows: S.skipped_days,
    sort: ["date", false],
    columns: [
      { key: "date", label: "Day", text: true },
      { key: "why", label: "Why", text: true, wrap: true },
    ],
  });
  section(
    "data",
    "Data",
    grid(
      card(7, "Coverage of each day (UTC)", D.words.quality, coverage()),
      el(
        "div",
        { class: "w5 grid stack" },
        card(12, "Why no trade", "Bars by the first reason for which nothing was entered.", refusals()),
        card(12, "Missing minutes", found ? "Findings: " + found + "." : null, holes.length ? gaps.body : none("No minute is missing.")),
        card(12, "Skipped days", null, S.skipped_days.length ? skipped.body : none("No day was skipped.")),
      ),
    ),
  );
}

function settings() {
  const config = dataTable({
    id: "config",
    caption: "Settings",
    rows: X.config,
    columns: [
      { key: "name", label: "Setting", text: true, show: (v) => code(v) },
      { key: "value", label: "Value", show: String },
      { key: "origin", label: "Origin", text: true },
      { key: "note", label: "Meaning and range", text: true, wrap: true },
    ],
    filters: [
      { key: "origin", label: "Origin", all: "all", options: [...new Set(X.config.map((r) => r.origin))].sort().map((o) => [o, o]) },
    ],
  });
  const files = dataTable({
    id: "files",
    caption: "Data files",
    rows: S.data,
    sort: ["file", false],
    columns: [
      { key: "file", label: "File", text: true },
      { key: "sha256", label: "sha256", text: true, show: (v) => code(v) },
    ],
  });
  const marks = [
    ["version", S.version],
    ["git", S.git],
    ["profile", S.profile],
    ["config_hash", S.config_hash],
    ["trades_hash", S.trades_hash],
    ["schema", S.schema],
    ["universe", S.universe.join(" ")],
    ["seconds taken", num(S.seconds, 2)],
  ];
  section(
    "settings",
    "Settings",
    grid(
      card(12, "Effective settings", null, config.body, config.controls),
      card(
        12,
        "Marks of this run",
        "Two runs with the same trades hash made the same trades.",
        el(
          "div",
          { class: "scroll" },
          el(
            "table",
            {},
            el(
              "tbody",
              {},
              marks.map(([k, v]) => el("tr", {}, el("td", {}, k), el("td", { class: "wrap" }, code(v)))),
            ),
          ),
        ),
      ),
      card(12, "Data files", null, S.data.length ? files.body : none("No file: the market was made in memory.")),
    ),
  );
  section(
    "limits",
    "Limits",
    card(
      12,
      "Known limits",
      null,
      el(
        "ul",
        { class: "plain" },
        D.words.limits.map((text) => el("li", {}, text)),
      ),
    ),
  );
}
