"""The two commands' common part: which Python it takes, what it pins, and that it stays plain bash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "ci/bench/requirements.lock")


def bash(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = f'source "{ROOT}/ci/bootstrap"; {command}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=os.environ | environment)


def shims(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_text("#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("script", ["ci/bootstrap", "ci/quickstart", "ci/test", "ci/bench/run", ".ci/run"])
def test_every_script_parses(script: str) -> None:
    """bash -n finds nothing to complain about."""
    assert subprocess.run(["bash", "-n", ROOT / script], capture_output=True, check=False).stderr == b""


def test_a_pyenv_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    """python3.13 and python3.12 exist here but do not start: the first one that really starts is taken."""
    path = shims(tmp_path, "python3.13", "python3.12")
    (tmp_path / "python3").symlink_to(sys.executable)
    found = bash("find_python", PATH=path)
    assert (found.returncode, found.stdout) == (0, "python3\n"), found.stderr


def test_pyenvs_folder_is_the_last_resort(tmp_path: Path) -> None:
    """No name on the path starts: an interpreter in pyenv's versions folder is found."""
    path = shims(tmp_path, "python3.13", "python3.12", "python3")
    home = tmp_path / "pyenv" / "versions" / "3.12.9" / "bin"
    home.mkdir(parents=True)
    (home / "python3.12").symlink_to(sys.executable)
    found = bash("find_python", PATH=path, PYENV_ROOT=str(tmp_path / "pyenv"))
    assert found.stdout == f"{home / 'python3.12'}\n", found.stderr


def test_without_any_python_the_message_says_what_to_install(tmp_path: Path) -> None:
    """Exit 4 and one line on stderr."""
    found = bash("find_python", PATH=shims(tmp_path, "python3.13", "python3.12", "python3"), PYENV_ROOT=str(tmp_path))
    assert found.returncode == 4
    assert found.stderr.startswith("dolphin: no Python >= 3.12 that starts")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(("status", "said"), [(0, 1), (7, 2)])
def test_a_missing_browser_is_installed_or_its_absence_said(tmp_path: Path, status: int, said: int) -> None:
    """As root on Debian apt-get is asked for chromium; when that fails the set-up says so and goes on."""
    for name in ("bash", "cat", "dirname"):
        (tmp_path / name).symlink_to(Path(shutil.which(name) or name))
    for name, body in (("id", "echo 0"), ("apt-get", f'echo "asked $*" >&2; exit {status}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = bash("browser; echo on", PATH=str(tmp_path))
    assert done.stdout == "on\n"
    assert done.stderr.count("dolphin: ") == said
    assert ("install --no-install-recommends chromium" in done.stderr) == (status == 0)


def test_a_seal_changes_with_any_file(tmp_path: Path) -> None:
    """The stamp of a finished set-up is void when one byte of what it was made from differs."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    before = bash(f"seal {one} {two}").stdout
    two.write_text("3")
    assert before
    assert bash(f"seal {one} {two}").stdout != before
    two.write_text("2")
    assert bash(f"seal {one} {two}").stdout == before


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_every_package_by_hash_and_name_no_address(lock: str) -> None:
    """Each requirement is exact and hashed; the installer and the build backend are among them; no host name appears."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins = re.findall(r"^(\S+?)==\S+.*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, flags=re.MULTILINE)
    names = re.findall(r"^[a-zA-Z0-9]\S*", text, flags=re.MULTILINE)
    assert len(pins) == len(names) > 50
    assert {"uv", "setuptools"} <= {name for name, _ in pins}
    assert "://" not in text
    assert bash(f'pinned uv "{ROOT / lock}"').stdout.startswith("uv==")


def test_hazelcast_jars_are_pinned_by_content() -> None:
    """Both members and the console's line editor have a checksum."""
    lines = (ROOT / "dolphin/grid/hazelcast.sha256").read_text(encoding="utf-8").splitlines()
    names = [line.split("  ")[1] for line in lines if re.fullmatch(r"[0-9a-f]{64}  5\.[47]\.0/[a-z]+(-[a-z]+)?-[0-9.]+\.jar", line)]
    assert len(names) == len(lines) == 10
    assert {"5.7.0/hazelcast-5.7.0.jar", "5.4.0/hazelcast-5.4.0.jar"} <= set(names)
