"""systemd units, a compose file and prefect.yaml: written from the tables of services and deployments, compared by doctor.

``python -m flows.units configs`` writes them anew after a table has changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from dolphin.deployment import GridConfig, SupervisionConfig
from flows.deployments.project import project_file
from flows.services import SERVICES, ServiceSpec, member_services

__all__ = ["drift", "unit_files"]

PYTHON: Final = "${DOLPHIN_PYTHON}"
STATE: Final = "${DOLPHIN_STATE}"
ENVIRONMENT: Final = """\
# Copy to /etc/dolphin.env. The units of configs/systemd read it; the account `dolphin` must own the state folder.
DOLPHIN_PYTHON=/opt/dolphin/.venv/bin/python
DOLPHIN_STATE=/var/lib/dolphin
"""


def unit_files() -> dict[str, str]:
    """Text by path below ``configs``."""
    order = (*member_services([GridConfig().port]), *SERVICES)
    files = {f"systemd/dolphin-{spec.name}.service": _unit(spec, order[:place]) for place, spec in enumerate(order)}
    names = " ".join(f"dolphin-{spec.name}.service" for spec in order)
    files["systemd/dolphin.target"] = (
        f"[Unit]\nDescription=DOLPHIN, all processes\nWants={names}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
    return files | {"systemd/dolphin.env": ENVIRONMENT, "compose.yaml": _compose(order), "prefect.yaml": project_file()}


def drift(folder: Path) -> list[str]:
    """Files below ``folder`` that are not what the tables say: absent, different or not in them."""
    wanted = unit_files()
    found = {str(path.relative_to(folder)): path for path in _kept(folder) if path.is_file()}
    differing = [name for name, text in wanted.items() if name not in found or found[name].read_text(encoding="utf-8") != text]
    return sorted({*differing, *(found.keys() - wanted.keys())})


def _kept(folder: Path) -> list[Path]:
    return [*(folder / "systemd").glob("*"), folder / "compose.yaml", folder / "prefect.yaml"]


def _unit(spec: ServiceSpec, before: tuple[ServiceSpec, ...]) -> str:
    limits = SupervisionConfig()
    after = " ".join(["network.target", *(f"dolphin-{other.name}.service" for other in before)])
    loopback = "IPAddressDeny=any\nIPAddressAllow=localhost\n" if spec.port else ""
    return f"""\
[Unit]
Description=DOLPHIN {spec.name}
After={after}
PartOf=dolphin.target
StartLimitIntervalSec={limits.crash_window_s * (limits.crash_limit + 1)}
StartLimitBurst={limits.crash_limit + 1}

[Service]
User=dolphin
EnvironmentFile=/etc/dolphin.env
Environment=PYTHONUNBUFFERED=1
ExecStart=/usr/bin/env {" ".join(spec.command(STATE, PYTHON))}
Restart=always
RestartSec=1
TimeoutStopSec={limits.stop_timeout_s}
KillMode=mixed
NoNewPrivileges=yes
{loopback}
[Install]
WantedBy=dolphin.target
"""


def _compose(order: tuple[ServiceSpec, ...]) -> str:
    head = """\
# An image with this package, Java 17 and the jars is yours to build: DOLPHIN_IMAGE names it. All containers share the network of the
# grid's, where everything listens on 127.0.0.1 alone; nothing is published.
name: dolphin

x-process: &process
  image: ${DOLPHIN_IMAGE:?name an image with dolphin-nautilus, Java 17 and the Hazelcast jars}
  restart: always
  stop_grace_period: GRACEs
  volumes: ["state:/state"]

services:
""".replace("GRACE", str(SupervisionConfig().stop_timeout_s))
    return head + "".join(_container(spec, order) for spec in order) + "\nvolumes:\n  state: {}\n"


def _container(spec: ServiceSpec, order: tuple[ServiceSpec, ...]) -> str:
    command = ", ".join(f'"{word}"' for word in spec.command("/state", "python"))
    lines = [f"  {spec.name}:", "    <<: *process", f"    command: [{command}]"]
    if spec.port:
        probe = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{spec.port}/hazelcast/health', timeout=2)"
        lines += ["    healthcheck:", f'      test: ["CMD", "python", "-c", "{probe}"]', "      interval: 2s", "      retries: 30"]
    else:
        lines += ['    network_mode: "service:grid"', "    depends_on:"]
        for other in order[: order.index(spec)] if spec.waits else order[:1]:
            lines.append(f"      {other.name}: {{condition: service_{'healthy' if other.port else 'started'}}}")
    return "\n".join(lines) + "\n"


def _write(folder: Path) -> None:
    for name, text in unit_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
