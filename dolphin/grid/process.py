"""Members as processes of this machine: started detached with a pid file and a log, checked, stopped; only those that we started."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dolphin.errors import MissingDependency
from dolphin.grid.jars import find_java, verified_jars
from dolphin.grid.loopback import foreign_listeners
from dolphin.grid.member import MemberPlan, member_command, member_yaml

__all__ = ["Health", "MemberProcess", "health", "known_members", "record_member", "start_members", "stop_member", "taken"]

START_S: Final = 45.0
STOP_S: Final = 12.0
_CONSENSUS_READY: Final = "CP Subsystem is initialized"


class MemberProcess(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside a member's log. A pid is ours as long as process start, machine start and command line agree."""

    pid: int
    started: str
    cluster: str
    server: str
    port: int
    folder: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.started == _birth(self.pid) and str(Path(self.folder) / "member.yaml") in _command_line(self.pid)


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of the health URL; ``state`` is empty when there is none."""

    state: str = ""
    size: int = 0
    safe: bool = False


def health(port: int, timeout_s: float = 1.0) -> Health:
    """What the member on this port says about itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/hazelcast/health")
        told = json.loads(connection.getresponse().read(10_000))
        return Health(str(told["nodeState"]), int(told["clusterSize"]), bool(told["clusterSafe"]))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return Health()
    finally:
        connection.close()


def known_members(state: Path) -> list[MemberProcess]:
    """Members that were started with this state folder and not stopped, by port; dead ones too."""
    found = []
    for path in sorted(state.glob("*/member.json")):
        with suppress(OSError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(path.read_bytes(), type=MemberProcess))
    return sorted(found, key=lambda member: member.port)


def start_members(plans: Sequence[MemberPlan], state: Path, jar_folder: Path) -> list[MemberProcess]:
    """Start the members of one cluster and wait until each is active, sees the others and listens on 127.0.0.1 only.

    Raises ``MissingDependency``, with nothing left running, when Java or jars are absent, a port is taken, a member dies or does not become
    ready, or a port is bound elsewhere.
    """
    java, jars = find_java(), verified_jars(jar_folder, plans[0].server)
    for plan in plans:
        if taken(plan.port):
            raise MissingDependency(f"127.0.0.1:{plan.port} is taken: `dolphin grid status` tells by what of ours; or use --port")
    started: list[MemberProcess] = []
    ready = False
    try:
        for plan in plans:
            started.append(_spawn(plan, state / f"{plan.cluster}-{plan.port}", lambda config: member_command(java, jars, config)))
        _await(started, time.monotonic() + START_S, plans[0].consensus > 0)
        ready = True
    finally:
        if not ready:
            for member in started:
                stop_member(member, patience_s=0.0)
    return started


def stop_member(member: MemberProcess, patience_s: float = STOP_S) -> bool:
    """Ask the member to leave, end it after ``patience_s``, forget it. Whether it was running; a process that is not ours is left alone."""
    running = member.alive
    if running:
        os.kill(member.pid, signal.SIGTERM if patience_s else signal.SIGKILL)
        if not _gone(member, patience_s or STOP_S):
            os.kill(member.pid, signal.SIGKILL)
            _gone(member, STOP_S)
    (Path(member.folder) / "member.json").unlink(missing_ok=True)
    return running


def record_member(pid: int, plan: MemberPlan, folder: Path) -> MemberProcess:
    """Write down that this process is the member of this plan, in its folder."""
    member = MemberProcess(pid=pid, started=_birth(pid), cluster=plan.cluster, server=plan.server, port=plan.port, folder=str(folder))
    temporary = folder / ".member.json"
    temporary.write_bytes(msgspec.json.encode(member))
    temporary.replace(folder / "member.json")
    return member


def _spawn(plan: MemberPlan, folder: Path, command: Callable[[Path], list[str]]) -> MemberProcess:
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "member.yaml", folder / "member.log"
    config.write_text(member_yaml(plan), encoding="utf-8")
    line = command(config)
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, log, write, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    pid = os.posix_spawn(line[0], line, os.environ, file_actions=files, setsid=True)
    return record_member(pid, plan, folder)


def _await(members: Sequence[MemberProcess], until: float, consensus: bool) -> None:
    waiting = list(members)
    while waiting:
        member = waiting[0]
        found = health(member.port)
        if found.state == "ACTIVE" and found.size == len(members) and (not consensus or _CONSENSUS_READY in _log(member)):
            foreign = foreign_listeners(member.pid)
            if foreign:
                raise MissingDependency(f"member {member.port} listens on {', '.join(foreign)}, not on 127.0.0.1 alone: it was stopped")
            waiting.pop(0)
        elif not _running(member.pid):
            raise MissingDependency(f"member {member.port} ended while it started: {_last_words(member)}")
        elif time.monotonic() > until:
            raise MissingDependency(f"member {member.port} was not ready within {START_S:g} s: see {member.folder}/member.log")
        else:
            time.sleep(0.02)


def _last_words(member: MemberProcess) -> str:
    lines = _log(member).splitlines()
    telling = [line for line in lines if "Exception" in line or "SEVERE" in line or "rror" in line]
    return (telling or lines or ["nothing in its log"])[-1].strip()[:300]


def _log(member: MemberProcess) -> str:
    return (Path(member.folder) / "member.log").read_text(encoding="utf-8", errors="replace")


def taken(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _gone(member: MemberProcess, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while _running(member.pid) and member.alive:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _running(pid: int) -> bool:
    """Whether the process is there and no zombie; a finished child of ours is reaped."""
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    return bool(_birth(pid))


def _birth(pid: int) -> str:
    """Ticks at which the process started and the boot it belongs to; empty when there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{fields[19]}@{boot}"


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
