"use strict";
/* Ages, posture, lanes. Everything is drawn from the newest parts of the snapshot; unknown is said, never drawn as zero. */
const SVG = "http://www.w3.org/2000/svg";
const POSTURES = { APEX: "\u25b2", STALKER: "\u25c6", TURTLE: "\u25a0", HIBERNATE: "\u2715" };
const LEVELS = [0.5, 0.75, 0.9];
/* The newest parts of the snapshot, and how far this browser's clock is behind the server's. */
const now = {};
let skew = 0;
const wallNow = () => Date.now() + skew;
const marketNow = (m) => m.market_ms + (wallNow() - m.wall_ms) * m.speed;
const share = (x, digits = 2) => pct(x, digits, true);
const stamp = (ms) => iso(ms).slice(11, 19);
const known = (x) => x != null;

function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 100) return Math.round(s) + " s";
  if (s < 6000) return Math.round(s / 60) + " min";
  return s < 172800 ? Math.floor(s / 3600) + " h " + Math.round((s % 3600) / 60) + " min" : num(s / 86400, 1) + " d";
}

/* An age that goes on by itself; `limit` in seconds: older is said aloud. `market`: on the market's clock. */
function age(at, { limit = null, market = false, none = "never" } = {}) {
  const node = el("span", { class: "age", "data-at": at, "data-limit": limit, "data-market": market });
  node.dataset.none = none;
  tickAge(node, now.market);
  return node;
}
function tickAge(node, clock) {
  const at = node.dataset.at,
    moment = "market" in node.dataset ? marketNow(clock) : wallNow();
  const seconds = (moment - Number(at)) / 1000,
    old = at == null || seconds < -30 || (node.dataset.limit != null && seconds > Number(node.dataset.limit));
  node.classList.toggle("old", old);
  const text = at == null ? node.dataset.none : seconds < -30 ? "in the future" : span(seconds) + " ago";
  if (node.textContent !== text) node.textContent = text;
}

const posture = (name, words = name) => el("span", { class: name }, (POSTURES[name] || "?") + "\u00a0" + words);
const item = (text) => el("li", null, text);
const facts = (rows) =>
  el("dl", { class: "facts-list" }, rows.filter(Boolean).map(([name, value]) => [el("dt", null, name), el("dd", null, value)]).flat());
const sum = (name, value, kind) => el("div", null, el("dt", null, name), el("dd", { class: kind }, value));

function meter(p) {
  const at = (x) => 100 * Math.min(1, Math.max(0, x)) + "%";
  const label = known(p.rm) ? `Rm ${p.rm.toFixed(3)}, target ${p.target.toFixed(3)}` : "Rm unknown";
  return el(
    "div",
    { class: "rm " + (p.published || "UNKNOWN"), role: "img", "aria-label": label },
    known(p.rm) ? el("i", { style: { width: at(p.rm) } }) : null,
    LEVELS.map((x) => [el("s", { style: { left: at(x) } }), el("u", { style: { left: at(x) } }, x.toFixed(2))]).flat(),
    known(p.target) ? el("b", { title: "target", style: { left: at(p.target) } }) : null,
  );
}

function drawPosture(p) {
  const cats = p.categories.map((c) =>
    el(
      "tr",
      { class: c.value < 0.8 ? "low" : c.value < 0.9995 ? "some" : "" },
      el("td", null, c.name),
      el("td", null, c.meaning, c.value < 0.9995 ? el("span", { class: "note" }, `at its best: target ${c.mended.toFixed(3)}, ${c.lifts}`) : null),
      el("td", null, c.value.toFixed(3)),
    ),
  );
  return [
    el("div", { class: "head" }, el("h3", null, "Posture"), el("span", null, "said ", age(p.said_ms, { limit: p.limit_s }))),
    el("div", { class: "big" }, posture(p.posture), p.state === "FRESH" ? null : el("small", null, ` obeyed: ${p.reason || p.state}`)),
    el(
      "p",
      { class: "hint" },
      known(p.rm) ? `Rm ${p.rm.toFixed(3)}, target ${p.target.toFixed(3)}` : "Rm unknown",
      p.published && p.published !== p.posture ? `; the watchdog said ${p.published}` : "",
      "; since ",
      known(p.since_ms) ? [stamp(p.since_ms), " UTC, ", age(p.since_ms)] : "an unknown time",
    ),
    meter(p),
    el("h4", null, "Why"),
    p.reasons.length ? el("ul", { class: "reasons" }, p.reasons.map(item)) : el("p", { class: "hint" }, p.published ? "no reason given: all is well" : "nothing was published"),
    p.lift.length ? [el("h4", null, "What would lift it"), el("ul", { class: "lift" }, p.lift.map(item))] : null,
    cats.length ? [el("h4", null, "Made of"), el("table", { class: "cats" }, el("tbody", null, cats))] : null,
    p.changes.length
      ? el(
          "details",
          { id: "posture-history" },
          el("summary", null, p.changes.length === 1 ? "The last change" : `The last ${p.changes.length} changes`),
          el(
            "ol",
            { class: "history", reversed: true },
            p.changes.map((c) => el("li", null, posture(c.posture), ` ${stamp(c.at_ms)} UTC, Rm ${c.rm.toFixed(3)}`, el("span", { class: "note muted" }, " " + c.reasons.join("; ")))),
          ),
        )
      : null,
  ].flat();
}

function curve(lane) {
  const { market_ms: times, equity, venue } = lane.curve;
  if (times.length < 2) return el("p", { class: "empty" }, "no equity curve yet");
  const values = [...equity, ...venue.filter(known), lane.day_start].filter(known);
  const low = Math.min(...values),
    high = Math.max(...values),
    room = (high - low || 1) * 0.06;
  const x = (t) => (1000 * (t - times[0])) / (times.at(-1) - times[0]),
    y = (v) => 150 - (150 * (v - low + room)) / (high - low + 2 * room);
  const line = (series) => {
    let d = "",
      pen = false;
    series.forEach((v, k) => {
      if (!known(v)) return void (pen = false);
      d += (pen ? "L" : "M") + x(times[k]).toFixed(1) + " " + y(v).toFixed(1);
      pen = true;
    });
    return d;
  };
  const path = (name, d) => {
    const node = document.createElementNS(SVG, "path");
    node.setAttribute("class", name);
    node.setAttribute("d", d);
    return node;
  };
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "curve");
  picture.setAttribute("viewBox", "0 0 1000 150");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `Equity of ${lane.lane} from ${usd(equity[0])} to ${usd(equity.at(-1))} USDT, lowest ${usd(low)}, highest ${usd(high)}`);
  if (known(lane.day_start)) picture.append(path("zero", `M0 ${y(lane.day_start).toFixed(1)}H1000`));
  if (venue.length) picture.append(path("venue", line(venue)));
  picture.append(path("honest", line(equity)));
  return el(
    "div",
    null,
    picture,
    el(
      "div",
      { class: "axis" },
      el("span", null, minute(times[0]).slice(5)),
      el("span", null, `low ${usd(low)}, high ${usd(high)} USDT`),
      el("span", null, minute(times.at(-1)).slice(5)),
    ),
    el("div", { class: "key" }, el("span", null, el("i"), "honest, marked"), venue.length ? el("span", null, el("i", { class: "venue" }), "venue account, closed trades") : null),
  );
}

/* From the stop (or as far below entry as the target is above) to the take profit. */
function track(q) {
  if (!known(q.move)) return el("p", { class: "small" }, "price unknown");
  const goal = q.move + q.to_take_profit,
    floor = known(q.to_stop) ? q.move - q.to_stop : Math.min(-goal, q.move);
  const at = (m) => 100 * Math.min(1, Math.max(0, (m - floor) / (goal - floor)));
  const zero = at(0),
    here = at(q.move),
    left = Math.min(zero, here);
  return el(
    "div",
    { class: "track", role: "img", "aria-label": `${share(q.move)} since entry, take profit${away(q.to_take_profit)}` },
    el("i", { class: q.move >= 0 ? "won" : "lost-part", style: { left: left + "%", width: Math.abs(here - zero) + "%" } }),
    el("b", { class: "entry", style: { left: zero + "%" } }),
    el("b", { style: { left: here + "%" } }),
    el("u", { class: "left" }, known(q.to_stop) ? "stop" : "no stop"),
    el("u", { style: { left: Math.min(85, Math.max(15, zero)) + "%" } }, "entry"),
    el("u", { class: "right" }, "take profit"),
  );
}

const away = (x) => (x > 0 ? `, ${share(x).replace("+", "")} away` : ", reached");
const side = (d) => (d < 0 ? "SHORT" : "LONG");
function held(lane) {
  const q = lane.position;
  if (!q) {
    const means = Object.fromEntries(lane.refused.map((r) => [r.reason, r.means]));
    const why = [...lane.blocks, ...lane.refusals].map((r) => (means[r] ? `${r}: ${means[r]}` : r));
    return el("div", { class: "position flat" }, el("div", { class: "row" }, "Flat"), el("p", { class: "small" }, why.length ? "newest bar entered nothing; " + why.join("; ") : "no bar yet"));
  }
  const aged = known(q.bars) ? `${q.bars} of ${q.max_bars} bars` : `age unknown, at most ${q.max_bars} bars`;
  return el(
    "div",
    { class: "position" },
    el(
      "div",
      { class: "row" },
      el("span", null, `${side(q.direction)} ${q.asset}`),
      el("span", { class: tone(q.unrealised) }, known(q.unrealised) ? `${num(q.unrealised, 2, true)} USDT (${share(q.move)})` : "unrealised unknown"),
    ),
    track(q),
    el("p", { class: "small" }, `entry ${sig(q.entry_price)} at ${clock(q.entry_market_ms)}, ${aged}; ${usd(q.notional)} USDT, leverage ${num(q.leverage, 2)}`),
    el(
      "p",
      { class: "small" },
      known(q.price) ? ["price ", sig(q.price), ", ", age(q.price_market_ms, { market: true }), "; "] : "price unknown; ",
      `take profit ${sig(q.take_profit_price)}` + (known(q.to_take_profit) ? away(q.to_take_profit) : ""),
      known(q.stop_price) ? `; stop ${sig(q.stop_price)}` + (known(q.to_stop) ? away(q.to_stop) : "") : "; no stop loss is set",
    ),
  );
}

function drawLane(lane) {
  const below = known(lane.equity) ? 1 - Math.max(lane.equity, 0) / lane.peak : null;
  const limit = lane.bar_seconds ? Math.max(3 * lane.bar_seconds, 10 * now.market.speed) : null;
  return el(
    "section",
    { class: "card", "aria-label": "Lane " + lane.lane },
    el(
      "div",
      { class: "head" },
      el("h3", null, `${lane.lane}`, el("small", null, (lane.live ? "LIVE, " : "") + side(lane.direction) + (lane.configured ? "" : ", not configured now"))),
      el("span", null, known(lane.bar) ? [`bar ${lane.bar} of ${lane.date}, `, age(lane.bar_market_ms, { limit: now.market.ended ? null : limit, market: true })] : "no bar yet"),
    ),
    lane.problem ? el("p", { class: "loss" }, "\u2715 journal: " + lane.problem) : null,
    lane.reading ? el("p", { class: "hint" }, "history is being read") : null,
    lane.safe_mode ? el("p", { class: "loss" }, "\u2715 SAFE MODE: " + lane.safe_mode) : null,
    el(
      "div",
      { class: "big" },
      known(lane.equity) ? num(lane.equity, 2) : "unknown",
      el("small", null, " USDT honest, position marked"),
    ),
    el(
      "dl",
      { class: "sums" },
      sum("today", known(lane.day_pnl) ? [num(lane.day_pnl, 2, true), el("small", null, share(lane.day_pnl / lane.day_start))] : "unknown", tone(lane.day_pnl)),
      sum("below its peak", known(below) ? share(below, 2).replace("+", "") : "unknown"),
      sum("honest, closed", known(lane.honest_capital) ? num(lane.honest_capital, 2) : "unknown"),
      sum("champion, closed", known(lane.capital) ? num(lane.capital, 2) : "unknown"),
      lane.venue ? sum("venue account", [num(lane.venue.account, 2), el("small", null, age(lane.venue.said_ms, { limit: 180 }))]) : sum("venue account", el("span", { class: "muted" }, "not published")),
    ),
    held(lane),
    lane.venue
      ? el("p", { class: "hint" }, `at the venue: ${lane.venue.position || "flat"}`, lane.venue.position ? `, unrealised ${num(lane.venue.unrealised, 2, true)}` : "", lane.venue.last_fill ? `; last fill ${lane.venue.last_fill}` : "")
      : null,
    curve(lane),
  );
}
