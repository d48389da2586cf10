"""The server: loopback only, read-only but for the kill switch, which asks for its token; events when something changes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from dashboard_stage import Served, Stage, wait_until

from dolphin.grid.loopback import foreign_listeners
from dolphin.storage.journal import JournalReader, Kind, journal_path
from dolphin.storage.kill_switch import KillSwitch
from flows.dashboard.access import Guesses, Token, is_loopback, is_same_origin
from flows.dashboard.server import CLIENTS
from flows.dashboard.snapshot import Snapshot

CHECKOUT = Path(__file__).resolve().parents[2]
Serve = Callable[..., Served]
PAGES = (
    "/", "/assets/report.css", "/assets/dashboard.css", "/assets/text.js", "/assets/cards.js", "/assets/lists.js", "/assets/dashboard.js",
)  # fmt: skip


def ready(served: Served) -> dict[str, Any]:
    wait_until(lambda: httpx.get(f"{served.url}/api/state").status_code == 200)
    return httpx.get(f"{served.url}/api/state").json()


def kill(served: Served, token: str = "", reason: str = "a drill", **headers: str) -> httpx.Response:
    return httpx.post(f"{served.url}/api/kill", json={"token": token, "reason": reason}, headers=headers)


@contextmanager
def events(served: Served) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The live events as they come."""
    with httpx.stream("GET", f"{served.url}/api/events", timeout=10.0) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")

        def told() -> Iterator[tuple[str, dict[str, Any]]]:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    yield kind, json.loads(line[6:])

        yield told()


def test_the_page_is_small_and_asks_nobody_else(serve: Serve):
    """All parts under 300 KB, no address in them but our own, a policy that forbids inline scripts and every other origin."""
    served, size = serve(), 0
    for path in PAGES:
        answer = httpx.get(served.url + path)
        assert answer.status_code == 200
        size += len(answer.content)
        assert "https://" not in answer.text
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert size < 300_000
    assert "<script>" not in httpx.get(served.url).text
    assert "style=" not in httpx.get(served.url).text


def test_state_is_json_with_a_schema(serve: Serve):
    """`/api/state` is a snapshot of its schema."""
    served = serve()
    state = ready(served)
    now = msgspec.convert(state, Snapshot)
    assert state["schema"] == "dolphin.dashboard/1"
    assert now.posture.posture == "STALKER"
    schema = httpx.get(f"{served.url}/api/schema").json()
    assert set(schema["$defs"]["Snapshot"]["required"]) == set(state)


def test_a_foreign_host_name_is_refused(serve: Serve):
    """A name that was rebound to 127.0.0.1 reads nothing; the names of loopback do, whatever port a tunnel has."""
    served = serve()
    for host in (
        "evil.example",
        "evil.example:8720",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "10.0.0.1",
        "a@localhost",
    ):
        for path in ("/", "/api/state", "/api/events"):
            answer = httpx.get(served.url + path, headers={"Host": host})
            assert answer.status_code == 403
            assert "BTC" not in answer.text
        assert httpx.post(f"{served.url}/api/kill", json={}, headers={"Host": host}).status_code == 403
    for host in ("localhost", "localhost:9999", "127.0.0.1:1", "LOCALHOST:8720"):
        assert httpx.get(served.url, headers={"Host": host}).status_code == 200
    with socket.create_connection(("127.0.0.1", served.port)) as raw:
        raw.sendall(b"GET /api/state HTTP/1.0\r\n\r\n")
        assert b" 403 " in raw.recv(100)


def test_the_server_listens_on_loopback_only(serve: Serve):
    """No socket of this process accepts from anywhere else."""
    served = serve()
    assert httpx.get(served.url).status_code == 200
    assert foreign_listeners(os.getpid()) == []
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", served.port), timeout=1.0):
        pass


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_the_kill_switch_takes_a_post(serve: Serve, method: str):
    """Every other way to change something is refused, and nothing has changed."""
    served = serve()
    for path in (*PAGES, "/api/state", "/api/events", "/api/schema"):
        assert httpx.request(method, served.url + path, json={}).status_code == 405
    assert httpx.request(method, f"{served.url}/api/release", json={"token": served.token.text, "reason": "x"}).status_code == 404
    assert KillSwitch(served.stage.state.kill).engaged() is False


def test_the_right_token_engages_the_kill_switch(serve: Serve):
    """File, journal and page say it, with the reason; a second time keeps the first order."""
    served = serve()
    answer = kill(served, served.token.text, "spreads look\nwrong")
    assert (answer.status_code, answer.json()["reason"]) == (200, "spreads look wrong (from the dashboard)")
    assert KillSwitch(served.stage.state.kill).order().reason == "spreads look wrong (from the dashboard)"
    with JournalReader(journal_path(served.stage.state.journals, "control")) as journal:
        assert journal.last(Kind.KILL).payload["reason"] == "spreads look wrong (from the dashboard)"
    wait_until(lambda: httpx.get(f"{served.url}/api/state").json()["kill"]["engaged"])
    typed = served.token.text.upper().replace("-", " ")
    assert kill(served, typed, "again").json()["reason"] == "spreads look wrong (from the dashboard)"


def test_a_wrong_token_is_refused_told_and_then_limited(serve: Serve):
    """Five are alerts, then 429 without one; nothing is engaged; the right one still works, for a flood must not disarm the switch."""
    served = serve()
    answers = [kill(served, f"0000-{k:04d}") for k in range(8)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 3
    assert answers[-1].headers["retry-after"] == "60"
    assert [alert.kind for alert in served.told] == ["hostile_value"] * 5
    assert all("0000" not in alert.text and served.token.text not in alert.text for alert in served.told)
    assert KillSwitch(served.stage.state.kill).engaged() is False
    assert kill(served, served.token.text).status_code == 200


@pytest.mark.parametrize(
    ("status", "given"),
    [
        (400, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (400, {"json": {"token": 5, "reason": "x"}}),
        (400, {"json": ["token"]}),
        (400, {"json": {"reason": "no token"}}),
        (400, {"content": b'{"a":' * 800, "headers": {"Content-Type": "application/json"}}),
        (413, {"json": {"token": "x" * 10_000, "reason": "x"}}),
        (403, {"data": {"token": "x", "reason": "a form"}}),
        (403, {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
        (403, {"json": {"token": "{right}", "reason": "another page"}, "headers": {"Origin": "http://evil.example"}}),
        (403, {"json": {"token": "{right}", "reason": "another port"}, "headers": {"Origin": "http://127.0.0.1:1"}}),
        (403, {"json": {"token": "{right}", "reason": "cross site"}, "headers": {"Sec-Fetch-Site": "cross-site"}}),
        (400, {"json": {"token": "{right}", "reason": " \n "}}),
        (400, {"json": {"token": "{right}", "reason": "\u202e\x00"}}),
    ],
)
def test_a_malformed_or_foreign_order_kills_nothing(serve: Serve, status: int, given: dict[str, Any]):
    """No JSON, wrong types, too long, a form, another origin, no reason: refused with the right status."""
    served = serve()
    if isinstance(given.get("json"), dict) and given["json"].get("token") == "{right}":
        given = given | {"json": given["json"] | {"token": served.token.text}}
    assert httpx.post(f"{served.url}/api/kill", **given).status_code == status
    assert KillSwitch(served.stage.state.kill).engaged() is False


def test_a_kill_that_the_disk_refuses_is_not_called_engaged(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    """The answer says NOT engaged, and why."""
    from dolphin.errors import Unavailable

    def refuses(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr("flows.dashboard.server.engage", refuses)
    served = serve()
    answer = kill(served, served.token.text)
    assert (answer.status_code, answer.text) == (500, "NOT engaged: the disk is full\n")


def test_without_a_kill_switch_no_token_is_right(serve: Serve):
    """--no-kill: refused whatever is sent, no token file, and the page is told."""
    served = serve(offer_kill=False)
    assert kill(served, "").status_code == 403
    assert not served.stage.state.dashboard_token.exists()
    assert ready(served)["kill"]["offered"] is False


def test_events_tell_everything_once_and_then_what_changes(serve: Serve):
    """The whole state, ticks while nothing happens, then only the parts of a change: a new posture leaves the feed out."""
    served = serve()
    ready(served)
    with events(served) as told:
        kind, first = next(told)
        assert kind == "state"
        assert set(first["parts"]) == set(Snapshot.__struct_fields__) - {"as_of_ms"}
        kinds = [next(told)[0] for _ in range(4)]
        assert kinds.count("tick") >= 2
        served.stage.say_posture("TURTLE", "order book thin")
        changes: dict[str, Any] = {}
        for _, news in told:
            changes |= news.get("parts", {})
            if changes.get("posture", {}).get("posture") == "TURTLE":
                break
        assert "feed" not in changes
        assert news["now_ms"] >= first["now_ms"]
    with events(served) as told:
        assert all(next(told)[1]["as_of_ms"] is not None for _ in range(4))


def test_too_many_pages_are_refused(serve: Serve):
    """A limit on open pages; one that closes makes room."""
    served = serve()
    clients = [httpx.Client() for _ in range(CLIENTS + 1)]
    streams = [client.stream("GET", f"{served.url}/api/events") for client in clients]
    try:
        answers = [stream.__enter__() for stream in streams]
        assert [answer.status_code for answer in answers] == [200] * CLIENTS + [503]
    finally:
        for stream, client in zip(streams, clients, strict=True):
            stream.__exit__(None, None, None)
            client.close()
    wait_until(lambda: _opens(served))


def _opens(served: Served) -> bool:
    with httpx.stream("GET", f"{served.url}/api/events") as answer:
        return answer.status_code == 200


def test_the_token_is_private_and_goes_with_its_server(tmp_path: Path):
    """Mode 0600, 64 random bits that differ at each start, removed at the end."""
    path = tmp_path / "dashboard.token"
    first, second = Token(path), Token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.read_text().strip(), len(second.text)) == (second.text, 19)
    assert first.text != second.text
    assert second.is_right(second.text)
    assert not second.is_right(first.text)
    assert not second.is_right("")
    assert not second.is_right("\u00e9" * 16)
    second.forget()
    assert not path.exists()


def test_guesses_are_forgotten_after_a_minute():
    """Five in a minute; the sixth is one too many until the first is older."""
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    assert [guesses.wrong() for _ in range(7)] == [False] * 5 + [True] * 2
    now[0] = 61.0
    assert guesses.wrong() is False


def test_hosts_and_origins_are_told_apart():
    """As a browser would send them."""
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost:80", "[::1]:80", "", "127.0.0.1:x", "localhost/evil", "127.1")] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip
    here = {"Host": "localhost:9000"}
    assert is_same_origin(here)
    assert is_same_origin(here | {"Origin": "http://localhost:9000", "Sec-Fetch-Site": "same-origin"})
    assert not is_same_origin(here | {"Origin": "null"})
    assert not is_same_origin(here | {"Origin": "https://localhost:9000"})


class Process:
    """`dolphin dashboard` as a process."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
        environ = os.environ | {"PYTHONPATH": path, "DOLPHIN__PATHS__STATE": str(folder / "state"), "DOLPHIN__GRID__PORT": "1024"}
        command = [sys.executable, "-m", "flows.cli", "dashboard", *arguments]
        self.child = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def first_lines(self, count: int) -> list[str]:
        return [self.child.stderr.readline().strip() for _ in range(count)]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes and ends them."""
    made: list[Process] = []

    def start(*arguments: str) -> Process:
        made.append(Process(tmp_path, *arguments))
        return made[-1]

    yield start
    for started in made:
        started.child.kill()
        started.child.communicate()


def test_the_command_serves_until_sigterm(process: Callable[..., Process], tmp_path: Path):
    """It prints address and token, keeps the token in a file of ours, lets no second one in, and ends with an open page in time."""
    state = tmp_path / "state"
    first = process("--port", "0")
    said = first.first_lines(3)
    address, token = said[0].rpartition(" ")[2], said[1].rpartition(" ")[2]
    assert (state / "dashboard.token").read_text().strip() == token
    assert said[2].endswith(f"{address}#{token}")
    wait_until(lambda: httpx.get(f"{address}api/state").status_code == 200, 30.0)
    second = process("--port", "0")
    out, error = second.child.communicate(timeout=60)
    assert (second.child.returncode, "held by dolphin dashboard" in error) == (4, True)
    taken = process("--state", str(tmp_path), "--port", address.rpartition(":")[2].strip("/"))
    out, error = taken.child.communicate(timeout=60)
    assert (taken.child.returncode, "cannot be had" in error) == (4, True)
    with httpx.stream("GET", f"{address}api/events") as answer:
        assert answer.status_code == 200
        began = time.monotonic()
        first.child.send_signal(signal.SIGTERM)
        out, _ = first.child.communicate(timeout=20)
    assert (first.child.returncode, out.strip()) == (0, "the dashboard has ended")
    assert time.monotonic() - began < 10.0
    assert not (state / "dashboard.token").exists()


def test_a_state_folder_that_is_not_there_is_a_usage_error(process: Callable[..., Process], tmp_path: Path):
    """A typing error must not look like a deployment that is down."""
    started = process("--state", str(tmp_path / "nowhere"))
    _, error = started.child.communicate(timeout=60)
    assert (started.child.returncode, "there is no such folder" in error) == (2, True)


def test_a_reader_that_fails_ends_the_server(tmp_path: Path):
    """What nobody foresaw is not hidden behind a page that stands still: the server ends, and raises it."""
    stage = Stage(tmp_path / "state")
    from flows.dashboard.server import Site, serve

    class Broken:
        settings = stage.settings

        def read(self, *, kill_offered: bool) -> Snapshot:
            raise ZeroDivisionError("a defect")

        def close(self) -> None:
            stage.close()

    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(ZeroDivisionError, match="a defect"):
        serve(Site(stage.state, Broken(), None, print, str, stage.clocks), listening)
