"""What Prometheus reads to find the metrics of a deployment: its configuration, and the targets as the processes tell their ports."""

from __future__ import annotations

import json
from typing import Final

from dolphin.storage.publish import publish
from dolphin.storage.state import StateFolder

__all__ = ["PROMETHEUS", "targets", "write_targets"]

PROMETHEUS: Final = """\
# Prometheus: `prometheus --config.file=THIS`. The targets beside it follow every restart.
global:
  scrape_interval: 5s
scrape_configs:
  - job_name: dolphin
    file_sd_configs:
      - files: [prometheus-targets.json]
        refresh_interval: 15s
"""


def targets(state: StateFolder) -> list[dict[str, object]]:
    """One target a process, by name; files that are being written or make no sense are left out."""
    found: list[dict[str, object]] = []
    for path in sorted(state.processes.glob("*.json")):
        try:
            port = int(json.loads(path.read_bytes())["metrics_port"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append({"targets": [f"127.0.0.1:{port}"], "labels": {"process": path.stem}})
    return found


def write_targets(state: StateFolder) -> None:
    """Publish targets that differ from the published ones."""
    text = json.dumps(targets(state), indent=1)
    path = state.root / "prometheus-targets.json"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with publish(path, durable=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
