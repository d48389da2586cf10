"use strict";
/* The page: hears the server, draws the parts that changed, says loudly when it hears nothing. */
const LOST_MS = 4000,
  STUCK_MS = 15000;
const byId = (id) => document.getElementById(id);
let heard = 0,
  asOf = null,
  source = null;

/* Which boxes depend on which parts of the snapshot. */
const BOXES = {
  posture: [["posture"], () => drawPosture(now.posture)],
  lanes: [["lanes", "market"], () => now.lanes.map((lane) => drawLane(lane))],
  trades: [["lanes"], () => drawTrades(now.lanes)],
  processes: [["processes", "deployment"], () => drawProcesses()],
  feed: [["feed", "grid", "features", "market"], () => drawFeed()],
  refused: [["lanes"], () => drawRefused(now.lanes)],
  alerts: [["alerts"], () => drawAlerts(now.alerts)],
  log: [["log"], () => drawLog(now.log)],
};

/* Replace what is in a box; what was scrolled, opened or focused stays so. */
function fill(id, nodes) {
  const box = byId(id),
    places = [box, ...box.querySelectorAll(".scroll, .list")].map((e) => [e.scrollTop, e.scrollLeft]),
    open = [...box.querySelectorAll("details[open]")].map((e) => e.id),
    focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  box.replaceChildren(...nodes.filter((n) => n != null));
  [box, ...box.querySelectorAll(".scroll, .list")].forEach((e, k) => {
    if (places[k]) [e.scrollTop, e.scrollLeft] = places[k];
  });
  for (const id of open) if (byId(id)) byId(id).open = true;
  if (focused) [...box.querySelectorAll("[tabindex]")].find((e) => e.getAttribute("aria-label") === focused)?.focus({ preventScroll: true });
}

function draw(parts) {
  Object.assign(now, parts);
  if (["concerns", "posture", "lanes", "deployment", "market", "kill"].some((name) => name in parts)) guarded("facts", drawHead);
  for (const [id, [needs, nodes]] of Object.entries(BOXES))
    if (needs.some((name) => name in parts)) guarded(id, () => fill(id, nodes()));
}

/* A part that cannot be drawn says so and leaves the others alone: an old figure must not pass for a new one. */
function guarded(id, work) {
  try {
    work();
  } catch (error) {
    byId(id).replaceChildren(el("p", { class: "loss" }, `\u2715 this cannot be drawn: ${error.message}`));
  }
}

const MARKS = { critical: ["\u2715", "Critical"], warning: ["\u25b2", "Warning"], info: ["i", "Note"] };
function drawHead() {
  const worst = now.concerns.filter((c) => c.level === "critical").length,
    some = now.concerns.filter((c) => c.level === "warning").length;
  const verdict = byId("verdict");
  verdict.className = worst ? "critical" : "";
  verdict.textContent = worst
    ? `\u2715 ${worst === 1 ? "One thing needs" : worst + " things need"} you now`
    : some
      ? `\u25b2 Running, with ${many(some, "warning")}`
      : "\u2713 All is well";
  const lanes = now.lanes.map((lane) => {
    const q = lane.position,
      what = q ? `${side(q.direction)} ${q.asset}` : "flat";
    return `${lane.live ? "LIVE " : ""}${lane.lane} ${what}, ${known(lane.day_pnl) ? num(lane.day_pnl, 2, true) + " USDT today" : "day unknown"}`;
  });
  byId("facts").replaceChildren(posture(now.posture.posture), ...lanes.map((text) => " \u00b7 " + text), now.kill.engaged === false ? "" : " \u00b7 KILL SWITCH ENGAGED");
  byId("concerns").replaceChildren(
    ...now.concerns.map((c) =>
      el(
        "li",
        { class: c.level },
        el("span", { class: "mark", role: "img", "aria-label": MARKS[c.level][1] }, MARKS[c.level][0]),
        el("span", null, c.text),
        c.do ? el("span", { class: "do" }, "\u2192 ", el("code", null, c.do)) : null,
      ),
    ),
  );
  const button = byId("kill-open"),
    engaged = now.kill.engaged !== false;
  button.hidden = !now.kill.offered && !engaged;
  button.textContent = engaged ? "\u2715 Killed" : "Kill switch";
  button.disabled = engaged;
  button.classList.toggle("engaged", engaged);
  document.title = `${worst ? "(" + worst + ") " : ""}${now.posture.posture} \u2013 DOLPHIN`;
  byId("foot").textContent = `${now.deployment.state} \u00b7 dolphin ${now.deployment.version} \u00b7 read-only; the kill switch is its one act \u00b7 times are UTC`;
}

function tick() {
  const quiet = performance.now() - heard,
    lost = !heard || quiet > LOST_MS,
    stuck = !lost && asOf != null && wallNow() - asOf > STUCK_MS,
    at = asOf == null ? "" : `, as of ${stamp(asOf)} UTC`;
  const link = heard || performance.now() > LOST_MS ? (lost ? "lost" : stuck ? "stuck" : "live") : "waiting";
  document.documentElement.dataset.link = link;
  say(byId("link"), { lost: "connection lost", stuck: "server busy", live: "live", waiting: "connecting" }[link]);
  say(byId("lost"), link === "lost" ? `CONNECTION LOST${at}. Nothing below is current. Trying again.` : link === "stuck" ? `The server reads slowly${at}.` : "");
  if (now.market) {
    const market = iso(marketNow(now.market)).slice(0, 19).replace("T", " ");
    say(byId("clock"), now.market.replay ? `${market} market time, replayed \u00d7${now.market.speed}` : `${market} UTC`);
    if (!lost) for (const node of document.querySelectorAll(".age")) tickAge(node, now.market);
  }
}
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function hear(event) {
  const said = JSON.parse(event.data);
  heard = performance.now();
  skew = said.now_ms - Date.now();
  if (said.as_of_ms != null) asOf = said.as_of_ms;
  if (said.parts) draw(said.parts);
  tick();
}
function connect() {
  source?.close();
  source = new EventSource("/api/events");
  for (const kind of ["state", "change", "tick"]) source.addEventListener(kind, hear);
}

/* The kill switch. The token may come in the address behind #; it is taken out of the address at once. */
const dialog = byId("kill");
if (/^#[0-9a-f]{4}(-[0-9a-f]{4}){3}$/i.test(location.hash)) {
  byId("kill-token").value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
byId("kill-open").addEventListener("click", () => {
  say(byId("kill-answer"), "");
  dialog.showModal();
  byId("kill-reason").focus();
});
byId("kill-close").addEventListener("click", () => dialog.close());
byId("kill-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [reason, token, button] = [byId("kill-reason").value.trim(), byId("kill-token").value.trim(), byId("kill-go")];
  if (!reason || !token) return say(byId("kill-answer"), "A reason and the token are needed.");
  button.disabled = true;
  say(byId("kill-answer"), "Engaging\u2026");
  try {
    const answer = await fetch("/api/kill", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reason, token }),
    });
    if (answer.ok) dialog.close();
    else say(byId("kill-answer"), `NOT engaged: ${(await answer.text()).trim()}`);
  } catch {
    say(byId("kill-answer"), "The server did not answer: use dolphin kill --reason '...' on the machine.");
  } finally {
    button.disabled = false;
  }
});

byId("log-kind").addEventListener("change", () => now.log && fill("log", drawLog(now.log)));
setInterval(tick, 500);
setInterval(() => (performance.now() - heard > 2 * LOST_MS ? connect() : null), 2 * LOST_MS);
connect();
