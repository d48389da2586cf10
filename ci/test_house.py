"""The house stands: layers, packaging, light imports, style, and nothing half-built in it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("dolphin", "actors", "daemons", "flows")
MODULES = sorted(p for name in PACKAGES for p in (CHECKOUT / name).rglob("*.py"))
HEAVY = (
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "nautilus_trader",
    "hazelcast",
    "prefect",
    "ccxt",
    "rich.progress",
    "httpx",
    "prometheus_client",
    "sqlite3",
)


def run(*command: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def tracked_text() -> list[Path]:
    names = run("git", "ls-files", "-co", "--exclude-standard").stdout.split()
    return [CHECKOUT / n for n in names if not n.endswith((".min.js", ".png")) and (CHECKOUT / n).is_file()]


def test_imports_point_down():
    """import-linter keeps the contracts of pyproject.toml."""
    done = run(str(Path(sys.executable).parent / "lint-imports"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_an_upward_import_would_be_caught(tmp_path):
    """The contract itself can fail: a copy with one wrong import breaks it."""
    for name in (*PACKAGES, "pyproject.toml"):
        source = CHECKOUT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    types = tmp_path / "dolphin" / "types.py"
    types.write_text(types.read_text() + "\nimport dolphin.engine.nd\n")
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache", cwd=tmp_path)
    assert done.returncode != 0
    assert "dolphin.types" in done.stdout


def test_style_and_types():
    """ruff and mypy --strict are clean."""
    ruff = run(str(Path(sys.executable).parent / "ruff"), "check", "--no-cache", ".")
    assert ruff.returncode == 0, ruff.stdout[-3000:]
    formatted = run(str(Path(sys.executable).parent / "ruff"), "format", "--check", "--no-cache", ".")
    assert formatted.returncode == 0, formatted.stdout[-3000:]
    mypy = run(sys.executable, "-m", "mypy")
    assert mypy.returncode == 0, mypy.stdout[-3000:]


def test_no_file_of_the_suite_is_longer_than_400_lines():
    long = {
        str(path): lines for path in (CHECKOUT / "ci").rglob("*.py") if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(CHECKOUT)))
def test_a_module_is_short_and_says_what_it_is(path):
    """At most 400 lines, a docstring, a sorted __all__ whose names exist, at most 8 parameters a function."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree)
    names = [ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
    if path.name != "__init__.py":
        assert names, "no __all__"
    for exported in names:
        assert sorted(exported, key=lambda n: (not n.isupper(), not n[0].isupper(), n)) == list(exported), "__all__ is not sorted"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "kernels" not in path.parts and "cli" not in path.name:
            parameters = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
            assert len(parameters) <= 8, f"{node.name} has {len(parameters)} parameters"


def test_functions_fit_a_screen():
    """95 % of all functions have at most 40 lines."""
    sizes = sorted(
        node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    )
    assert sizes[int(len(sizes) * 0.95)] <= 40


def test_the_top_level_is_fixed():
    """No folder joins the house unnoticed."""
    allowed = {
        *PACKAGES,
        "ci",
        "configs",
        "data",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "requirements.lock",
        ".ci",
        ".gitignore",
    }
    assert {name.split("/")[0] for name in run("git", "ls-files").stdout.split()} <= allowed


def test_no_address_of_an_index_or_mirror_anywhere():
    """Lock files carry versions and hashes, never addresses; neither does any other file."""
    marks = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "registry" + ".npmjs",
        "repo" + ".maven",
        "repo1" + ".maven",
        "index" + "-url",
        "find" + "-links",
    ]
    found = [
        f"{path}: {mark}" for path in tracked_text() for mark in marks if mark in path.read_text(encoding="utf-8", errors="replace").lower()
    ]
    found = [line for line in found if not re.search(r"--(no-)?emit-index" + "-url", line)]
    assert not found


def test_nothing_is_left_for_later():
    """No stub, no marker of unfinished work, no broad except but the two that are the last line of defence."""
    marks = re.compile(r"NotImplemented" + r"Error|TO" + r"DO|FIX" + r"ME|pragma: no cover|except:")
    found = [
        f"{p.relative_to(CHECKOUT)}:{i}" for p in MODULES for i, line in enumerate(p.read_text().splitlines(), 1) if marks.search(line)
    ]
    assert not found
    broad = [str(p.relative_to(CHECKOUT)) for p in MODULES if re.search(r"except (Base)?Exception", p.read_text())]
    assert broad == ["daemons/process.py", "flows/cli.py"]


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["data", "--help"],
        ["journal", "--help"],
        ["live", "--help"],
        ["flows", "--help"],
        ["backtest", "--help"],
        ["config", "show"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(command):
    """--help and settings stay light."""
    code = f"import sys; sys.argv = ['dolphin', *{command!r}]\nfrom flows.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
    code += f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    done = run(sys.executable, "-c", code)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout[-500:] + done.stderr[-500:]


def test_engine_only_runs_import_no_extra(tmp_path):
    """A backtest needs none of the heavy extras, and no pandas."""
    code = "import sys; sys.argv = ['dolphin', 'backtest', '--set', 'synthetic.days=1', '--set', 'paths.runs=' + sys.argv[1]]\n"
    code += "from flows.cli import main\ntry:\n    main()\nexcept SystemExit as done:\n    assert done.code == 0, done.code\n"
    extras = ("pandas", "nautilus_trader", "hazelcast", "prefect", "ccxt", "flint", "scipy", "httpx", "prometheus_client", "sqlite3")
    code += f"print('HEAVY', [m for m in {extras!r} if m in sys.modules])"
    done = run(sys.executable, "-c", code, str(tmp_path))
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout[-800:] + done.stderr[-800:]


@pytest.mark.parametrize("command", [["flows", "list"], ["flows", "run", "data-audit", "-p", "klines=nowhere"], ["status"]], ids=" ".join)
def test_only_serving_imports_prefect(command, tmp_path):
    """Its import takes seconds; jobs and their table need none of it."""
    code = f"import os, sys; sys.argv = ['dolphin', *{command!r}]; os.environ['DOLPHIN__PATHS__STATE'] = {str(tmp_path)!r}\n"
    code += "from flows.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nprint('PREFECT', 'prefect' in sys.modules)"
    done = run(sys.executable, "-c", code)
    assert done.stdout.splitlines()[-1] == "PREFECT False", done.stdout[-500:] + done.stderr[-500:]


def test_the_built_package_runs_away_from_the_checkout(tmp_path):
    """pip install . elsewhere: the command starts, the report's assets are inside, no folder of the checkout is importable."""
    wheel = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(CHECKOUT))
    assert wheel.returncode == 0, wheel.stderr[-2000:]
    built = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    done = run(sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(site), str(built))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (site / "dolphin" / "report" / "assets" / "echarts.min.js").is_file()
    assert not any((site / name).exists() for name in ("ci", "data", "configs"))
    code = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['dolphin', 'backtest', '--set', 'synthetic.days=1']\n"
    code += "import flows.cli, dolphin; assert dolphin.__file__.startswith(sys.path[0]), dolphin.__file__\nflows.cli.main()"
    away = tmp_path / "away"
    away.mkdir()
    done = run(sys.executable, "-I", "-c", code, cwd=away)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (away / "runs" / "latest" / "report.html").is_file()


def test_declared_versions_agree():
    """The package, its metadata and the changelog name the same version."""
    import dolphin

    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert version == dolphin.__version__
    assert f"## {version}" in (CHECKOUT / "CHANGELOG.md").read_text()
