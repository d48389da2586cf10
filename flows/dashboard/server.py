"""The page's server: loopback only, everything by GET, one POST for the kill switch. Nothing is read from anywhere but this machine.

``GET /`` page, ``/assets/*``; ``/api/state`` the snapshot (``dolphin.dashboard/1``), ``/api/schema`` its JSON Schema; ``/api/events`` the
same live as server-sent events: ``state`` at first, then ``change`` with the parts that differ, at most once a second, else ``tick``.
``POST /api/kill`` ``{"token": ..., "reason": ...}``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import msgspec
from aiohttp import web

from dolphin.errors import DolphinError
from dolphin.storage.state import StateFolder
from dolphin.telemetry.alerts import Alert, AlertKind, Severity
from flows.dashboard.access import Guesses, Token, is_loopback, is_same_origin
from flows.dashboard.reader import Clocks, SnapshotReader
from flows.dashboard.snapshot import Snapshot
from flows.kill import engage

__all__ = ["Site", "application", "serve"]

EVERY_S: Final = 1.0
CLIENTS: Final = 16
SEND_S: Final = 10.0
MAX_BODY: Final = 4096
MAX_REASON: Final = 300
_PAGES: Final = {
    "/": ("flows.dashboard", "dashboard.html", "text/html"),
    "/assets/report.css": ("dolphin.report", "report.css", "text/css"),
    "/assets/dashboard.css": ("flows.dashboard", "dashboard.css", "text/css"),
    "/assets/text.js": ("dolphin.report", "text.js", "text/javascript"),
    "/assets/cards.js": ("flows.dashboard", "cards.js", "text/javascript"),
    "/assets/lists.js": ("flows.dashboard", "lists.js", "text/javascript"),
    "/assets/dashboard.js": ("flows.dashboard", "dashboard.js", "text/javascript"),
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "dolphin",
}
_log = logging.getLogger("dolphin.dashboard")


class _Order(msgspec.Struct):
    token: str
    reason: str


@dataclass(frozen=True, slots=True)
class Site:
    """What the server stands on. ``token`` None: the page offers no kill switch; ``tell``: alerts; ``clean``: see ``follow``."""

    state: StateFolder
    reader: SnapshotReader
    token: Token | None
    tell: Callable[[Alert], None]
    clean: Callable[[str], str]
    clocks: Clocks


class _Live:
    """The newest snapshot, encoded part by part, and who waits for the next one."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.turn = asyncio.Condition()
        self.clients = 0
        self.error: BaseException | None = None

    async def publish(self, now: Snapshot) -> None:
        """Take a snapshot over and wake everybody."""
        parts = {name: msgspec.json.encode(getattr(now, name)) for name in now.__struct_fields__}
        async with self.turn:
            self.parts = parts
            self.turn.notify_all()

    def changed(self, sent: dict[str, bytes]) -> dict[str, msgspec.Raw]:
        """The parts that differ from what was sent; the time of the snapshot alone is no news."""
        return {name: msgspec.Raw(part) for name, part in self.parts.items() if name != "as_of_ms" and sent.get(name) != part}


def serve(site: Site, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises what ended the reader, if that was not foreseen."""
    live = _Live()
    web.run_app(application(site, live), sock=listening, print=None, access_log=None, shutdown_timeout=1.0)
    if live.error is not None:
        raise live.error


def application(site: Site, live: _Live | None = None) -> web.Application:
    """The server's routes; its reader runs while it does."""
    app = web.Application(middlewares=[_guard], client_max_size=MAX_BODY)
    live, guesses = live or _Live(), Guesses(site.clocks.monotonic)
    app.on_response_prepare.append(_harden)
    app.cleanup_ctx.append(functools.partial(_follow, site, live))
    for path, (package, name, kind) in _PAGES.items():
        app.router.add_get(path, functools.partial(_asset, resources.files(package).joinpath("assets", name).read_bytes(), kind))
    schema = msgspec.json.encode(msgspec.json.schema(Snapshot))
    app.router.add_get("/api/schema", functools.partial(_asset, schema, "application/schema+json"))
    app.router.add_get("/api/state", functools.partial(_state, live))
    app.router.add_get("/api/events", functools.partial(_events, site, live))
    app.router.add_post("/api/kill", functools.partial(_kill, site, guesses))
    return app


async def _follow(site: Site, live: _Live, app: web.Application) -> Any:
    """Read once a second on a thread. What the reader does not foresee is a defect: it ends the server, and the page says so."""

    async def turns() -> None:
        while True:
            await live.publish(await asyncio.to_thread(site.reader.read, kill_offered=site.token is not None))
            await asyncio.sleep(EVERY_S)

    reading = asyncio.create_task(turns())
    reading.add_done_callback(functools.partial(_ended, live))
    yield
    reading.cancel()
    await asyncio.wait([reading])
    await asyncio.to_thread(site.reader.close)


def _ended(live: _Live, reading: asyncio.Task[None]) -> None:
    live.error = None if reading.cancelled() else reading.exception()
    if live.error is not None:
        asyncio.get_running_loop().call_soon(_leave)


def _leave() -> None:
    raise web.GracefulExit


@web.middleware
async def _guard(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    peer = request.remote or ""
    if not (peer == "::1" or peer.startswith("127.")) or not is_loopback(request.headers.get("Host", "")):
        raise web.HTTPForbidden(text="this page answers on 127.0.0.1 and localhost only; from elsewhere use a tunnel (ssh -L)\n")
    return await handler(request)


async def _harden(_: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


async def _asset(body: bytes, kind: str, _: web.Request) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8")


async def _state(live: _Live, _: web.Request) -> web.Response:
    if not live.parts:
        raise web.HTTPServiceUnavailable(text="the first snapshot is being read\n", headers={"Retry-After": "1"})
    return web.Response(body=_whole(live), content_type="application/json", charset="utf-8")


def _whole(live: _Live) -> bytes:
    parts = {name: msgspec.Raw(part) for name, part in live.parts.items()}
    return msgspec.json.encode({"schema": Snapshot.__struct_config__.tag, **parts})


async def _events(site: Site, live: _Live, request: web.Request) -> web.StreamResponse:
    """Everything once, then what changes. A client that takes nothing for 10 s is left."""
    if live.clients >= CLIENTS:
        raise web.HTTPServiceUnavailable(text=f"{CLIENTS} pages are open already: close one\n")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"})
    live.clients += 1
    try:
        await response.prepare(request)
        sent: dict[str, bytes] = {}
        while True:
            kind, data = _news(live, sent, site.clocks.wall_ms())
            async with asyncio.timeout(SEND_S):
                await response.write(b"event: " + kind + b"\ndata: " + data + b"\n\n")
            await _next(live)
    except (TimeoutError, ConnectionError):
        return response
    finally:
        live.clients -= 1


def _news(live: _Live, sent: dict[str, bytes], now_ms: int) -> tuple[bytes, bytes]:
    """The next event for a client that has ``sent``, which is brought up to date."""
    head = {"now_ms": now_ms, "as_of_ms": msgspec.Raw(live.parts.get("as_of_ms", b"null"))}
    changed = live.changed(sent)
    kind = b"tick" if not changed else b"change" if sent else b"state"
    sent.update({name: live.parts[name] for name in changed})
    return kind, msgspec.json.encode({**head, "parts": changed} if changed else head)


async def _next(live: _Live) -> None:
    """Until there is another snapshot, or a second and a half are over: the page must hear that we live."""
    try:
        async with asyncio.timeout(1.5 * EVERY_S), live.turn:
            await live.turn.wait()
    except TimeoutError:
        return


async def _kill(site: Site, guesses: Guesses, request: web.Request) -> web.Response:
    """Engage the kill switch. There is no way here to release it."""
    if site.token is None:
        raise web.HTTPForbidden(text="this page was started with --no-kill: use `dolphin kill --reason ...`\n")
    if request.content_type != "application/json" or not is_same_origin(request.headers):
        raise web.HTTPForbidden(text="JSON from this page only\n")
    try:
        order = msgspec.json.decode(await request.read(), type=_Order)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise web.HTTPBadRequest(text='expected {"token": "...", "reason": "..."}\n') from error
    if not site.token.is_right(order.token):
        return _refused(site, guesses)
    reason = site.clean(order.reason)[:MAX_REASON].strip()
    if not reason:
        raise web.HTTPBadRequest(text="say why, in a few words\n")
    try:
        done = await asyncio.to_thread(engage, site.state, site.reader.settings, f"{reason} (from the dashboard)")
    except DolphinError as error:
        _log.error("the kill switch was not engaged: %s", error)
        raise web.HTTPInternalServerError(text=f"NOT engaged: {error}\n") from error
    _log.warning("kill switch engaged from the page: %s", reason)
    facts = {"schema": "dolphin.kill/1", "engaged": True, "reason": done.order.reason, "by": done.order.by, "missed": list(done.missed)}
    return web.Response(body=msgspec.json.encode(facts), content_type="application/json")


def _refused(site: Site, guesses: Guesses) -> web.Response:
    if guesses.wrong():
        raise web.HTTPTooManyRequests(text="too many wrong tokens: wait a minute, or use `dolphin kill`\n", headers={"Retry-After": "60"})
    text = "a wrong token for the kill switch was refused by the dashboard"
    _log.warning(text)
    site.tell(Alert(AlertKind.HOSTILE_VALUE, Severity.WARNING, "dashboard/token", text, site.clocks.wall_ms(), "dashboard"))
    raise web.HTTPForbidden(text="wrong token: it is in dashboard.token of the state folder; or use `dolphin kill`\n")
