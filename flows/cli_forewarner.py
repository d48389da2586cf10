"""Verbs under `dolphin forewarner`: train on trials of the engine, assess a configuration, report on the calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dolphin.errors import ConfigError
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, progress, verb

if TYPE_CHECKING:
    from dolphin.config import LoadedConfig

__all__ = ["forewarner_app"]

forewarner_app = typer.Typer(help="MC-forewarner: the chance that a configuration ends in a catastrophe.", no_args_is_help=True)

TableOption = Annotated[Path, typer.Option("--table", help="Table of trials.")]
KlinesOption = Annotated[Path | None, typer.Option("--klines", help="Folder of klines; scanned first (cached).")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of day tables.")]
FromOption = Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day.")]
ToOption = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day.")]
TABLE = Path("data/forewarner/trials.parquet")


@verb(forewarner_app, "train")
def train(
    klines: KlinesOption = None,
    data: DataOption = None,
    first: FromOption = "",
    last: ToOption = "",
    table: TableOption = TABLE,
    trials: Annotated[int, typer.Option(min=64, max=1_000_000, help="Trials.")] = 8192,
    path_days: Annotated[int, typer.Option(min=1, max=3650, help="Days of a trial.")] = 30,
    block_days: Annotated[float, typer.Option(min=1, max=3650, help="Mean length of a block of days.")] = 5.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of points, paths and cost draws.")] = 7,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0 = one a core. The table does not depend on it.")] = 0,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Run the engine over bootstrapped days under many configurations; interrupted, it goes on where it was."""
    loaded = loaded_config(config, changes)
    from dolphin.forewarner.calibration import calibrate, verdict
    from dolphin.forewarner.model import require_libraries
    from flows.forewarner import Training, plan_trials
    from flows.forewarner import train as run_trials

    require_libraries()
    files = _day_tables(loaded, klines, data, first, last)
    plan = plan_trials(files, loaded.settings.engine, seed=seed, path_days=path_days, block_days=block_days)
    trained = run_trials(Training(tuple(files), plan, trials, jobs), table, progress)
    found = calibrate(trained, _settings(loaded))
    facts = {"table": str(table), "trials": len(trained.values), "days": len(files), "plan": plan.digest, "config_hash": plan.config_hash}
    text = f"{len(trained.values):,} trials over {len(files)} days in {table}\n{verdict(found)}\nnext: dolphin forewarner report"
    return Outcome("dolphin.forewarner-train/1", {**facts, "verdict": verdict(found), "tests": found["tests"]}, text)


@verb(forewarner_app, "assess")
def assess(
    klines: KlinesOption = None,
    data: DataOption = None,
    last: Annotated[str, typer.Option("--day", metavar="YYYY-MM-DD", help="Last finished UTC day; default: the newest.")] = "",
    table: TableOption = TABLE,
    boost: Annotated[float, typer.Option(min=0.01, max=10, help="The day's boost of max_leverage.")] = 1.0,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Assess the configuration in the market condition of the last day (without --klines or --data: the trials' last). Exits 1 on RED."""
    loaded = loaded_config(config, changes)
    from dolphin.forewarner.forewarner import Forewarner

    forewarner = Forewarner.load(table, loaded.settings.engine)
    if klines is not None or data is not None:
        from dolphin.storage.day_table import read_day

        day = read_day(_day_tables(loaded, klines, data, last, last)[-1])
        forewarner = forewarner.observed(day.date, day.signals)
    elif last:
        raise ConfigError(f"--day {last}: say with --klines or --data where that day lies")
    settings = _settings(loaded)
    report = forewarner.assess_config_dict({**settings, "max_leverage": settings["max_leverage"] * boost})
    score = report.to_dict()["envelope_score"]
    lines = [
        f"{report.mc_status.value}: probability of a catastrophe {report.catastrophic_probability:.3f} (base rate {report.base_rate:.3f}), "
        f"envelope score {'unknown' if score is None else format(score, '.2f')}, condition of {report.condition_date}",
        *report.cautions,
    ]
    return Outcome("dolphin.forewarner-assess/1", report.to_dict(), "\n".join(lines), int(report.mc_status.value == "RED"))


@verb(forewarner_app, "report")
def report(
    table: TableOption = TABLE,
    out: Annotated[Path | None, typer.Option(help="The page; default: calibration.html beside the table.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Write the calibration report: fitted on earlier days, tested on later ones, against the base rate."""
    loaded = loaded_config(config, changes)
    from dolphin import __version__
    from dolphin.forewarner.calibration import calibrate, verdict
    from dolphin.forewarner.page import cautions, render_calibration
    from dolphin.forewarner.table import read_table
    from dolphin.storage.publish import publish, sha256_file

    trials = read_table(table)
    found = calibrate(trials, _settings(loaded))
    page = out if out is not None else table.with_name("calibration.html")
    text = render_calibration(trials, found, sha256_file(table), __version__)
    with publish(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    notes = cautions(trials, found)
    facts = {"report": str(page), "table": str(table), "verdict": verdict(found), "cautions": notes, **found}
    return Outcome("dolphin.forewarner-report/1", facts, "\n".join([verdict(found), *notes, f"report: {page}"]))


def _settings(loaded: LoadedConfig) -> Mapping[str, Any]:
    engine = loaded.settings.engine
    return {name: getattr(engine, name) for name in engine.__struct_fields__}


def _day_tables(loaded: LoadedConfig, klines: Path | None, data: Path | None, first: str, last: str) -> list[Path]:
    from flows.backtest import day_files
    from flows.cli_runs import check_range, day_folder

    check_range(first, last)
    return day_files(day_folder(loaded, klines, data, first, last)[0], first, last)
