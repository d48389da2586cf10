"""What this machine has of what the product needs: each row says what was found and, when something is wrong, the fix."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from dolphin.errors import DolphinError
from flows.cli_options import loaded_config
from flows.workspace import jar_folder

__all__ = ["Check", "examine"]

REQUIRED = ("numpy", "numba", "pyarrow", "pandas", "zstandard", "msgspec", "typer", "platformdirs")
EXTRAS = {
    "flint": "audit",
    "nautilus_trader": "nautilus",
    "hazelcast": "grid",
    "prefect": "flows",
    "ccxt": "live",
    "sklearn": "forewarner",
    "aiohttp": "dashboard",
}


@dataclass(frozen=True, slots=True)
class Check:
    """``status``: ok, absent (optional, a feature is off) or fail (required)."""

    name: str
    status: Literal["ok", "absent", "fail"]
    found: str
    fix: str = ""


def examine(config: Path | None) -> list[Check]:
    """Every check, required ones first."""
    python = sys.version.split()[0]
    rows = [Check("python", "ok" if sys.version_info >= (3, 12) else "fail", python, "Python 3.12 or newer: bash ci/quickstart finds one")]
    rows += [_package(name) for name in REQUIRED]
    rows += [_settings(config), _kernel_cache(), _disk()]
    rows += [_extra(module, extra) for module, extra in EXTRAS.items()]
    rows += [
        _program("java", ["-version"], "Java 17 for the Hazelcast grid"),
        _program("mvn", ["-version"], "Maven for the Hazelcast jars"),
    ]
    rows += [_jars(), _units()]
    rows.append(_program("chromium", ["--version"], "Debian's chromium for the browser tests of the report"))
    return rows


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "fail", "not installed", "bash ci/quickstart installs the locked set")


def _extra(module: str, extra: str) -> Check:
    if importlib.util.find_spec(module) is not None:
        return Check(f"extra {extra}", "ok", f"{module} present")
    return Check(f"extra {extra}", "absent", f"{module} not installed", f"pip install 'dolphin-nautilus[{extra}]'")


def _settings(config: Path | None) -> Check:
    try:
        loaded = loaded_config(config)
    except DolphinError as error:
        return Check("settings", "fail", str(error), "`dolphin config validate`")
    changed = sum(origin != "default" for origin in loaded.origin.values())
    return Check("settings", "ok", f"profile {loaded.settings.profile}, {changed} changed")


def _kernel_cache() -> Check:
    from dolphin.kernels._jit import cache_dir

    folder = cache_dir()
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return Check("kernel cache", "fail", f"{parent} is not writable", "set NUMBA_CACHE_DIR to a folder that is")
    if not any(folder.rglob("*.nbc")):
        return Check("kernel cache", "absent", f"{folder} is cold", "`dolphin warmup` compiles once")
    return Check("kernel cache", "ok", str(folder))


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check("disk", "ok" if free > 2 else "fail", f"{free:.0f} GB free here", "keep 2 GB free")


def _jars() -> Check:
    missing = [server for server in ("5.7.0", "5.4.0") if not (jar_folder(server) / f"hazelcast-{server}.jar").is_file()]
    if missing:
        fix = "bash ci/quickstart fetches them by Maven; without them the grid is embedded"
        return Check("Hazelcast jars", "absent", f"{', '.join(missing)} not in {jar_folder(missing[0]).parent}", fix)
    return Check("Hazelcast jars", "ok", str(jar_folder("5.7.0").parent))


def _units() -> Check:
    """systemd units and compose file of a checkout against the table of services."""
    from flows.units import drift

    folder = Path(__file__).resolve().parent.parent / "configs"
    if not folder.is_dir():
        return Check("units", "absent", "no checkout: systemd units and compose file are in its configs/", "`dolphin up` needs none")
    different = drift(folder)
    if different:
        return Check(
            "units", "fail", f"not what the services are: {', '.join(different)}", "`python -m flows.units configs` writes them anew"
        )
    return Check("units", "ok", f"{folder} agrees with the services")


def _program(name: str, arguments: list[str], purpose: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, "absent", "not found", f"install {purpose}")
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Check(name, "absent", f"does not start ({type(error).__name__})", f"repair {purpose}")
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode != 0:
        return Check(name, "absent", f"fails to start (exit {done.returncode})", f"repair {purpose}")
    return Check(name, "ok", lines[0] if lines else path)
