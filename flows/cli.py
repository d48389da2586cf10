"""The command line ``dolphin``. Verbs import what they need when they run, so that ``--help`` stays light."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_dashboard import add_dashboard_verb
from flows.cli_data import data_app
from flows.cli_exchange import add_exchange_verb
from flows.cli_flows import flows_app
from flows.cli_forewarner import forewarner_app
from flows.cli_grid import add_grid_verbs
from flows.cli_journal import journal_app
from flows.cli_kill import add_kill_verbs
from flows.cli_live import live_app
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.cli_paper import add_paper_verb
from flows.cli_posture import add_posture_verb
from flows.cli_runs import add_run_verbs
from flows.cli_up import add_up_verbs
from flows.console import Outcome, verb

__all__ = ["app", "main"]

app = typer.Typer(
    name="dolphin",
    help="DOLPHIN-NAUTILUS: eigenvalue-velocity trading of crypto perpetuals. Start with `dolphin backtest`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Effective settings and where each comes from.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(flows_app, name="flows")
app.add_typer(forewarner_app, name="forewarner")
app.add_typer(journal_app, name="journal")
app.add_typer(live_app, name="live")
app.add_typer(config_app, name="config")


def main() -> None:
    """Entry point: usage errors exit 2, Ctrl-C exits 130, anything unforeseen is one line unless ``--debug``."""
    logging.getLogger("dolphin").addHandler(logging.NullHandler())
    try:
        app()
    except KeyboardInterrupt:
        print("dolphin: interrupted; nothing half-written was left", file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # the last line of defence of a command line: a person gets one line, not a traceback
        if "--debug" in sys.argv:
            raise
        print(f"dolphin: {type(error).__name__}: {error} (a defect; run again with --debug and report it)", file=sys.stderr)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the outcome is settled: a late Ctrl-C must not spoil the exit code


@verb(app, "version")
def version() -> Outcome:
    """Version of the package and of what it computes with."""
    from importlib.metadata import version as installed

    from dolphin import __version__

    parts = {name: installed(name) for name in ("numpy", "numba", "pyarrow", "pandas")}
    text = f"dolphin {__version__}  (Python {sys.version.split()[0]}, " + ", ".join(f"{k} {v}" for k, v in parts.items()) + ")"
    return Outcome("dolphin.version/1", {"version": __version__, "python": sys.version.split()[0], **parts}, text)


@verb(app, "init")
def init(folder: Annotated[Path, typer.Argument(help="Where the project starts.")] = Path()) -> Outcome:
    """Make folders and a commented dolphin.toml; what exists is kept."""
    from dolphin.config import Settings, to_toml
    from dolphin.storage.publish import publish

    settings = Settings()
    paths = settings.paths
    folders = [folder / name for name in (paths.klines, paths.days, paths.runs)]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    config = folder / "dolphin.toml"
    kept = config.exists()
    if not kept:
        with publish(config) as temporary:
            temporary.write_text(to_toml(settings), encoding="utf-8")
    text = f"{config} {'kept as it was' if kept else 'written'}; folders: {', '.join(map(str, folders))}"
    return Outcome("dolphin.init/1", {"config": str(config), "kept": kept, "folders": [str(f) for f in folders]}, text)


@verb(app, "doctor")
def doctor(config: ConfigOption = None) -> Outcome:
    """Check everything the product needs; each finding comes with its fix. Exits 1 when something required is missing."""
    from flows.doctor import examine

    rows = examine(config)
    marks = {"ok": "ok  ", "absent": "--  ", "fail": "FAIL"}
    lines = [f"{marks[r.status]} {r.name:<22} {r.found}{f'  ->  {r.fix}' if r.status != 'ok' else ''}" for r in rows]
    failed = any(r.status == "fail" for r in rows)
    checks = [{"name": r.name, "status": r.status, "found": r.found, "fix": r.fix} for r in rows]
    return Outcome("dolphin.doctor/1", {"checks": checks}, "\n".join(lines), int(failed))


@verb(app, "warmup")
def warmup() -> Outcome:
    """Compile the kernels into the user's cache, so that no later command waits for the compiler."""
    from flows.warmup import compile_kernels

    report = compile_kernels()
    return Outcome("dolphin.warmup/1", report, f"kernels ready in {report['seconds']:.1f} s ({report['cache']})")


@verb(config_app, "show")
def config_show(config: ConfigOption = None, changes: SetOption = None) -> Outcome:
    """Effective value, origin, unit and range of every setting."""
    from dolphin.config import settings_rows

    loaded = loaded_config(config, changes)
    rows = [{"name": n, "value": v, "origin": loaded.origin[n], "note": note} for n, v, note in settings_rows(loaded.settings)]
    text = "\n".join(f"{r['name']:<32} {r['value']!s:<14} {r['origin']:<12} {r['note']}" for r in rows)
    return Outcome("dolphin.config/1", {"settings": rows}, text)


@verb(config_app, "validate")
def config_validate(config: ConfigOption = None, changes: SetOption = None) -> Outcome:
    """Read the settings as any other verb would; exit 2 names the first that is wrong."""
    from dolphin.config import config_hash

    digest = config_hash(loaded_config(config, changes).settings.engine)
    return Outcome("dolphin.config-validate/1", {"valid": True, "config_hash": digest}, f"valid; engine configuration {digest}")


@verb(config_app, "diff")
def config_diff(config: ConfigOption = None, changes: SetOption = None) -> Outcome:
    """What differs from the champion defaults; exits 1 when anything does."""
    from dolphin.config import Settings, settings_rows

    defaults = {name: value for name, value, _ in settings_rows(Settings())}
    loaded = loaded_config(config, changes)
    rows = [
        {"name": n, "default": defaults[n], "value": v, "origin": loaded.origin[n]}
        for n, v, _ in settings_rows(loaded.settings)
        if v != defaults[n]
    ]
    text = "\n".join(f"{r['name']:<32} {r['default']} -> {r['value']}  ({r['origin']})" for r in rows) or "no difference"
    return Outcome("dolphin.config-diff/1", {"differences": rows}, text, int(bool(rows)))


add_run_verbs(app)
add_grid_verbs(app)
add_posture_verb(app)
add_kill_verbs(app)
add_up_verbs(app)
add_exchange_verb(app)
add_dashboard_verb(app)
add_paper_verb(app)

if __name__ == "__main__":
    main()
