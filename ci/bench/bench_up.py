"""`dolphin up` as a user meets it: from the command to all processes healthy, over the synthetic market, with a real member."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from pathlib import Path

from bench_cli import DOLPHIN, run
from table import Row, emit, row


def main() -> list[Row]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="dolphin-bench-") as name:
        folder = Path(name)
        settings = ["--set", f"paths.state={folder / 'state'}", "--set", f"grid.port={port}", "--set", f"grid.cluster=bench-{port}"]
        settings += ["--set", "synthetic.days=1"]
        starts, stops = [], []
        try:
            for _ in range(4):
                starts.append(run([DOLPHIN, "up", *settings], folder)[0])
                stops.append(run([DOLPHIN, "down", *settings], folder)[0])
        finally:
            subprocess.run([DOLPHIN, "down", *settings], cwd=folder, check=False, capture_output=True)
    first, *warm = starts
    return [
        row(
            "dolphin up to all healthy, warm, 7 processes", min(warm), None, 25.0, 10.0, f"first, with training a forewarner: {first:.0f} s"
        ),
        row("dolphin down until nothing is left", min(stops), None, None, None, "trader first, grid last"),
    ]


if __name__ == "__main__":
    emit(main())
