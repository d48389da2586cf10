"""The supervisor of one state folder: supervisord, its configuration as text, its start, and how to speak with it over its socket."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dolphin.deployment import SupervisionConfig
from dolphin.errors import ConfigError, MissingDependency, Unavailable
from flows.processes import marked
from flows.services import ServiceSpec

__all__ = ["EVENTS", "ProcessInfo", "Supervisor", "supervisor_config"]

EVENTS: Final = "supervisor_events"
"""Name of the process that hears supervisord's events: restarts are counted, crash loops alerted."""

LONGEST_SOCKET: Final = 90
"""Bytes of the socket's path; the kernel takes 107, and supervisord binds a longer name first."""

CALL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What the supervisor knows of a process. ``state``: STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED, FATAL; ``pid`` 0: none."""

    name: str
    state: str
    pid: int
    uptime_s: float


def supervisor_config(services: Sequence[ServiceSpec], state: Path, config: SupervisionConfig) -> str:
    """``supervisor.conf`` of a state folder: a socket that only we may use, no process before it is asked for, logs that rotate."""
    if set(str(state)) & set('"\\%\n'):
        raise ConfigError(f"{state}: the path of a state folder has no quotes, backslashes, percent signs or line breaks; set paths.state")
    head = f"""\
[unix_http_server]
file=%(here)s/supervisor.sock
chmod=0700

[supervisord]
logfile=%(here)s/logs/supervisor.log
logfile_maxbytes=10MB
logfile_backups=3
pidfile=%(here)s/supervisor.pid
directory={_escaped(str(Path.cwd()))}
nocleanup=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[eventlistener:{EVENTS}]
command={_escaped(shlex.join([sys.executable, "-m", "flows.supervisor_events"]))} --state "%(here)s"
events=PROCESS_STATE,TICK_5
buffer_size=1000
startretries=1000
stdout_logfile=NONE
stderr_logfile=%(here)s/logs/{EVENTS}.log
stderr_logfile_maxbytes=10MB
stderr_logfile_backups=3
"""
    return head + "".join(_program(spec, place, config) for place, spec in enumerate(services, 1))


class Supervisor:
    """Speaks with the supervisord of a state folder. Every call is bounded in time and raises ``Unavailable`` when there is no answer."""

    def __init__(self, state: Path) -> None:
        self.state, self.socket = state, state / "supervisor.sock"
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET:
            raise ConfigError(f"{state}: too long a path for a socket in it ({LONGEST_SOCKET} bytes); set paths.state to a shorter one")

    def launch(self, services: Sequence[ServiceSpec], config: SupervisionConfig) -> None:
        """Write the configuration and start supervisord, detached. Raises ``MissingDependency`` when it does not start."""
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        path = self.state / "supervisor.conf"
        path.write_text(supervisor_config(services, self.state, config), encoding="utf-8")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)]
        settled = {name: value for name, value in os.environ.items() if not name.startswith("DOLPHIN__")}  # they are in the settings file
        environ = settled | marked(self.state)
        try:
            done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingDependency(f"supervisord does not start ({type(error).__name__}): {error}") from error
        if done.returncode:
            if "No module named supervisor" in done.stderr:
                raise MissingDependency("supervisor is not installed: pip install 'dolphin-nautilus[grid]'")
            lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("For help")]
            raise MissingDependency(f"supervisord does not start: {lines[-1] if lines else f'exit {done.returncode}'}")

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        try:
            self.pid()
        except Unavailable:
            return False
        return True

    def pid(self) -> int:
        """Its process."""
        return int(self._call("supervisor.getPID"))

    def processes(self) -> dict[str, ProcessInfo]:
        """All processes by name, without the one that hears its events."""
        found = self._call("supervisor.getAllProcessInfo")
        return {
            p["name"]: ProcessInfo(p["name"], p["statename"], p["pid"], float(p["now"] - p["start"]) if p["pid"] else 0.0)
            for p in found
            if p["name"] != EVENTS
        }

    def start(self, name: str) -> None:
        """Start a process that does not run; no news of one that does."""
        try:
            self._call("supervisor.startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise MissingDependency(f"{name} does not start: {fault.faultString}; see `dolphin logs {name}`") from fault

    def stop(self, name: str) -> None:
        """Ask a process to end; no news of one that does not run."""
        try:
            self._call("supervisor.stopProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise Unavailable(f"{name} cannot be stopped: {fault.faultString}") from fault

    def shutdown(self) -> None:
        """Ask supervisord to end what it started, and itself."""
        self._call("supervisor.shutdown")

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            with xmlrpc.client.ServerProxy("http://supervisor/RPC2", transport=_Transport(self.socket)) as proxy:
                return getattr(proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultString != "SHUTDOWN_STATE":
                raise
            raise Unavailable(f"the supervisor of {self.state} is shutting down: wait, then `dolphin up`") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise Unavailable(f"the supervisor of {self.state} does not answer ({type(error).__name__}): `dolphin up` starts it") from error


class _Transport(xmlrpc.client.Transport):
    """XML-RPC through a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> _Connection:
        made = _Connection(self._path)
        self._connection = host, made  # the base class closes it
        return made


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CALL_S)
        self.sock.connect(str(self._path))


def _program(spec: ServiceSpec, place: int, config: SupervisionConfig) -> str:
    before, after = spec.command("STATE")[:3], spec.command("STATE")[5:]
    log = f"%(here)s/logs/{spec.name}.log"
    return f"""
[program:{spec.name}]
command={_escaped(shlex.join(before))} --state "%(here)s" {shlex.join(after)}
priority={place}
autostart=false
autorestart=true
startsecs={config.crash_window_s}
startretries={config.crash_limit}
stopwaitsecs={config.stop_timeout_s}
killasgroup=true
environment=NUMBA_CACHE_DIR="%(here)s/compiled/{spec.name}",OMP_NUM_THREADS="1",OPENBLAS_NUM_THREADS="1"
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _escaped(text: str) -> str:
    """As supervisord's configuration wants a percent sign."""
    return text.replace("%", "%%")
