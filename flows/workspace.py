"""Where things lie on this machine: cache folders, run folders, the commit that runs."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import platformdirs

import dolphin
from dolphin.config import PathsConfig

__all__ = ["cache_folder", "commit", "jar_folder", "new_run_folder", "point_latest", "state_folder"]


def cache_folder(paths: PathsConfig, kind: str) -> Path:
    """``<paths.cache or the user's cache>/dolphin/<kind>``, made when absent."""
    folder = (Path(paths.cache) if paths.cache else Path(platformdirs.user_cache_dir("dolphin"))) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def state_folder(paths: PathsConfig, kind: str) -> Path:
    """``<paths.state, or the user's state folder for dolphin>/<kind>``, made when absent: what must outlive a cleared cache."""
    folder = (Path(paths.state).absolute() if paths.state else Path(platformdirs.user_state_dir("dolphin"))) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def jar_folder(server: str) -> Path:
    """Where ``ci/bootstrap`` puts the jars of a Hazelcast version; settings do not move it."""
    return Path(platformdirs.user_cache_dir("dolphin")) / "grid" / server


def new_run_folder(runs: Path, digest: str) -> Path:
    """``runs/<utc-time>-<digest>``, made; a second run within the same second gets a suffix."""
    name = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{digest[:8]}"
    for suffix in ("", *(f".{n}" for n in range(2, 1000))):
        folder = runs / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(runs / name)


def point_latest(folder: Path) -> None:
    """Make ``runs/latest`` a link to ``folder``."""
    link, fresh = folder.parent / "latest", folder.parent / f".latest.{folder.name}"
    fresh.symlink_to(folder.name)
    fresh.replace(link)


def commit() -> str:
    """Commit of the checkout that this package is imported from, ``+dirty`` with uncommitted changes; empty when installed."""
    checkout = Path(dolphin.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
