"""What a member runs on: Java, and the Hazelcast jars that Maven fetched, each compared with its pinned sha256 before every start."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from dolphin.errors import MissingDependency

__all__ = ["find_java", "verified_jars"]

_EMBEDDED = "until then use the embedded grid: grid.kind = embedded"


def find_java() -> str:
    """Path of a Java >= 17 that starts. Raises ``MissingDependency``."""
    path = shutil.which("java")
    if path is None:
        raise MissingDependency(f"no java on the PATH: install openjdk-17-jre-headless; {_EMBEDDED}")
    try:
        talk = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
        major = int(talk.split('"')[1].split(".")[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        raise MissingDependency(f"{path} does not start ({type(error).__name__}): install openjdk-17-jre-headless; {_EMBEDDED}") from error
    if major < 17:
        raise MissingDependency(f"{path} is Java {major}: install openjdk-17-jre-headless; {_EMBEDDED}")
    return path


def verified_jars(folder: Path, server: str) -> list[Path]:
    """The pinned jars of Hazelcast ``server`` in ``folder``. Raises ``MissingDependency`` when one is absent, altered or unpinned."""
    sums = files("dolphin.grid").joinpath("hazelcast.sha256").read_text(encoding="ascii").splitlines()
    pinned = {name.removeprefix(f"{server}/"): digest for digest, name in map(str.split, sums) if name.startswith(f"{server}/")}
    present = {path.name for path in folder.glob("*.jar")}
    if not pinned or not pinned.keys() <= present:
        raise MissingDependency(f"Hazelcast {server} is not in {folder}: bash ci/quickstart fetches it by Maven; {_EMBEDDED}")
    for name in sorted(present):
        if _sha256(folder / name) != pinned.get(name):
            raise MissingDependency(f"{folder / name} is not the pinned file: remove {folder}, then bash ci/quickstart; {_EMBEDDED}")
    return [folder / name for name in sorted(pinned)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
