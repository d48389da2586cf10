"use strict";
/* Tables and lists: trades, processes, feed and grid, refusals, alerts, log. */
const cell = (value, kind) => el("td", { class: kind }, value);
/* A head that begins with * stands left, one with ~ is left out on a phone. */
const HEADS = { "*": "text", "~": "wide-only" };
const table = (heads, rows, label, kind) =>
  el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el(
      "table",
      { class: kind },
      el("thead", null, el("tr", null, heads.map((h) => el("th", { scope: "col", class: HEADS[h[0]] }, el("span", null, h.replace(/^[*~]/, "")))))),
      el("tbody", null, rows),
    ),
  );
const title = (text, note) => el("div", { class: "head" }, el("h3", null, text, note ? el("small", null, note) : null));
const state = (good, word) => el("span", { class: good ? "state" : "state bad" }, word);

function drawTrades(lanes) {
  const rows = lanes.flatMap((lane) => lane.trades.map((t) => ({ ...t, lane: lane.lane }))).sort((a, b) => b.exit_market_ms - a.exit_market_ms);
  const total = (key) => rows.reduce((all, t) => all + t[key], 0);
  const note = rows.length ? `${many(rows.length, "trade")}, honest ${num(total("honest_pnl"), 2, true)}, champion ${num(total("net_pnl"), 2, true)} USDT` : "";
  const last = lanes.map((lane) => lane.last_trade).filter(Boolean).sort((a, b) => b.exit_market_ms - a.exit_market_ms)[0];
  const body = rows.map((t) =>
    el(
      "tr",
      null,
      cell([t.asset, el("span", { class: "note" }, `${t.lane} ${side(t.direction)}`)]),
      cell(clock(t.exit_market_ms)),
      cell(num(t.honest_pnl, 2, true), tone(t.honest_pnl)),
      cell(share(t.honest_ret), tone(t.honest_ret)),
      cell([t.reason, el("span", { class: "note" }, t.means)], "text"),
      cell(num(t.net_pnl, 2, true), tone(t.net_pnl)),
      cell(t.bars),
      cell(sig(t.entry_price)),
      cell(sig(t.exit_price)),
      cell(usd(t.notional)),
    ),
  );
  return [
    title("Trades of today", note),
    body.length
      ? table(["*Asset", "Closed", "Honest", "Return", "*Exit", "Champion", "Bars", "Entry", "Exit price", "Notional"], body, "Trades of today")
      : el("p", { class: "empty" }, "no trade closed today", last ? `; the last one: ${side(last.direction)} ${last.asset}, ${num(last.honest_pnl, 2, true)} USDT, ${minute(last.exit_market_ms)}` : ""),
  ];
}

function drawProcesses() {
  const up = now.deployment;
  const rows = now.processes.map((p) =>
    el(
      "tr",
      null,
      cell([
        p.name,
        el("span", { class: "note" }, p.pid ? `pid ${p.pid}` : "no process"),
        p.restarts ? el("span", { class: "note loss" }, many(p.restarts, "restart")) : null,
      ]),
      cell([state(p.healthy, p.word || p.state), el("span", { class: "note" }, p.state.toLowerCase())], "text"),
      cell(age(p.beat_ms, { limit: p.limit_s })),
      cell(
        known(p.output_market_ms) || known(p.output_ms)
          ? [
              age(known(p.output_market_ms) ? p.output_market_ms : p.output_ms, { market: known(p.output_market_ms) }),
              el("span", { class: "note wide-only" }, p.output),
            ]
          : "-",
      ),
      cell(known(p.since_ms) ? span((wallNow() - p.since_ms) / 1000) : "-", "wide-only"),
      cell(p.restarts, p.restarts ? "loss wide-only" : "wide-only"),
    ),
  );
  const note = up.up ? `supervisor ${up.supervisor_pid}` : "no supervisor answers";
  return [
    title("Processes", note),
    rows.length ? table(["*Process", "*Says", "Heard", "Output", "~Up", "~Restarts"], rows, "Processes", "processes") : el("p", { class: "empty" }, "nothing runs"),
  ];
}

function drawFeed() {
  const feed = now.feed,
    grid = now.grid,
    missing = feed.gaps.reduce((all, g) => all + g.missing, 0);
  const limit = feed.bar_seconds && !now.market.ended ? Math.max(3 * feed.bar_seconds, 10 * now.market.speed) : null;
  const refused = Object.entries(grid.refused).map(([why, n]) => `${why} ${n}`);
  const gaps = feed.gaps.slice(0, 5).map((g) => `${minute(g.from_market_ms)} to ${clock(g.to_market_ms)} (${g.missing})`);
  return [
    title("Feed and grid"),
    facts([
      ["newest bar", feed.close_market_ms == null ? el("span", { class: "old" }, feed.problem || "none") : ["closed ", age(feed.close_market_ms, { market: true, limit }), `, bar ${feed.bar} of ${feed.date}`]],
      feed.live
        ? [
            "live feed",
            [
              state(feed.live.status === "running", feed.live.status),
              known(feed.live.lag_ms) ? ` lag ${num(feed.live.lag_ms, 0)} ms; ` : " lag unknown; ",
              `${feed.live.gaps} gaps, ${feed.live.missing_bars} bars missing, ${feed.live.backfilled} backfilled, ${feed.live.late} late, ${feed.live.down} down, said `,
              age(feed.live.ts_ms, { limit: 60 }),
            ],
          ]
        : null,
      ["vel_div", known(feed.vel_div) ? num(feed.vel_div, 5) : "no signal"],
      ["symbols", `${feed.symbols}, every ${feed.bar_seconds ?? "?"} s; ` + (feed.silent.length ? `${feed.silent.length} without a price: ${feed.silent.slice(0, 6).join(", ")}` : "all have a price")],
      ["gaps", missing ? el("span", { class: "loss" }, `\u2715 ${many(missing, "bar")} missing: ${gaps.join("; ")}`) : known(feed.seen_from_market_ms) ? `none since ${minute(feed.seen_from_market_ms)}` : "unknown"],
      ["grid", [state(grid.connected, grid.connected ? `${many(grid.members, "member")}, ${grid.cell || "?"}` : "NOT CONNECTED"), ", read ", age(grid.contact_ms, { limit: 10 })]],
      ["refused here", refused.length ? el("span", { class: "loss" }, refused.join(", ")) : "nothing"],
    ]),
    el("h4", null, "What a trader reads"),
    table(
      ["*Record", "*State", "Said"],
      now.features.map((f) =>
        el(
          "tr",
          null,
          cell([f.name, el("span", { class: "note" }, f.says || "nothing is there")]),
          cell(state(f.state === "FRESH", f.state + (f.reason && f.reason !== f.state ? " " + f.reason : "")), "text"),
          cell(age(f.said_ms, { limit: f.limit_s })),
        ),
      ),
      "Records of the grid",
    ),
  ];
}

function drawRefused(lanes) {
  const parts = lanes.map((lane) => {
    const most = Math.max(1, ...lane.refused.map((r) => r.day));
    const rows = lane.refused.map((r) =>
      el(
        "tr",
        null,
        cell([r.doubt ? el("span", { class: "tag WARNING" }, "doubt") : null, r.reason, el("span", { class: "note" }, r.means)]),
        cell(el("span", { class: "meter", "aria-hidden": "true", style: { width: (100 * r.day) / most + "%" } }), "wide-only"),
        cell(num(r.hour, 0)),
        cell(num(r.six_hours, 0)),
        cell(num(r.day, 0)),
      ),
    );
    return [el("h4", null, lane.lane), rows.length ? table(["*Reason", "~", "1 h", "6 h", "24 h"], rows, "Refusals of " + lane.lane, "meters") : el("p", { class: "empty" }, "no bar yet")];
  });
  return [title("Why nothing was entered", "bars by reason, market hours"), ...parts.flat()];
}

function drawAlerts(alerts) {
  return [
    title("Alerts and orders", "newest first"),
    alerts.length
      ? el(
          "ul",
          { class: "list", tabindex: 0, "aria-label": "Alerts" },
          alerts.map((a) =>
            el(
              "li",
              null,
              el("span", { class: "tag " + a.severity }, a.severity),
              el("b", null, `${a.kind} ${a.key}`),
              " ",
              el("span", { class: "when" }, `${stamp(a.at_ms)} UTC, `, age(a.at_ms), `, ${a.service}`),
              el("div", null, a.text),
            ),
          ),
        )
      : el("p", { class: "empty" }, "none in the logs that are kept"),
  ];
}

function drawLog(lines) {
  const kind = document.getElementById("log-kind").value;
  const shown = lines.filter((l) => kind === "all" || (kind === "loud" ? !["INFO", "DEBUG"].includes(l.level) : l.own)).reverse();
  if (!shown.length) return [el("p", { class: "empty" }, "nothing of that kind")];
  return shown.map((l) =>
    el(
      "p",
      { class: l.level },
      el("span", { class: "dim" }, stamp(l.at_ms)),
      el("span", null, l.level),
      el("span", { class: "dim" }, l.service),
      el("span", null, l.text),
    ),
  );
}
