"""Verbs under `dolphin data`: make, import, pull, check, list, scan and audit market data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dolphin.errors import ConfigError
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.cli_pull import add_pull_verb
from flows.console import Outcome, progress, verb

__all__ = ["data_app"]

data_app = typer.Typer(help="Market data: make, import, pull, check, list, scan, audit.", no_args_is_help=True)

KlinesFolder = Annotated[Path | None, typer.Option("--klines", help="Folder of klines; default: the configured one.")]
DaysFolder = Annotated[Path | None, typer.Option("--days", help="Folder of day tables; default: the configured one.")]
FromOption = Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day.")]
ToOption = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day.")]


@verb(data_app, "synth")
def synth(
    out: Annotated[Path | None, typer.Option(help="Folder for the klines; default: the configured one.")] = None,
    assets: Annotated[int | None, typer.Option(help="Assets.")] = None,
    days: Annotated[int | None, typer.Option(help="UTC days.")] = None,
    bar_seconds: Annotated[int | None, typer.Option(help="Bar interval, seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    start: Annotated[str | None, typer.Option(help="First UTC day.")] = None,
    config: ConfigOption = None,
) -> Outcome:
    """Write the synthetic market as klines."""
    given = {"assets": assets, "days": days, "bar_seconds": bar_seconds, "seed": seed, "start": start}
    loaded = loaded_config(config, [f"synthetic.{name}={value}" for name, value in given.items() if value is not None])
    from flows.synth import write_market

    folder = out if out is not None else Path(loaded.settings.paths.klines)
    files = write_market(loaded.settings.synthetic, folder, progress)
    return Outcome(
        "dolphin.data-synth/1", {"folder": str(folder), "files": [str(f) for f in files]}, f"{len(files)} days of klines in {folder}"
    )


@verb(data_app, "import")
def import_(
    sources: Annotated[list[Path], typer.Argument(help="Files or folders: exchange CSV (also .zip, .gz), parquet, feather, JSON rows.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the klines; default: the configured one.")] = None,
    layout: Annotated[str, typer.Option(help="auto, or the name of a layout.")] = "auto",
    symbol: Annotated[str | None, typer.Option(help="Symbol, when file names do not tell it.")] = None,
    bar_seconds: Annotated[int | None, typer.Option(help="Bar interval, when the rows do not tell it.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add to days that are there; contradictions are refused.")] = False,
    config: ConfigOption = None,
) -> Outcome:
    """Turn klines of common layouts into this project's, one file a UTC day."""
    loaded = loaded_config(config)
    from dolphin.storage.importers import import_klines
    from flows.inventory import KlineCheck

    folder = out if out is not None else Path(loaded.settings.paths.klines)
    report = import_klines(sources, folder, layout=layout, bar_seconds=bar_seconds, symbol=symbol, merge=merge)
    rows = [{"date": d.date, "file": str(d.path), "rows": d.rows, "symbols": d.symbols, "action": d.action} for d in report.days]
    files = [{"file": str(s.path), "sha256": s.sha256, "rows": s.rows, "symbols": list(s.symbols)} for s in report.sources]
    quality = KlineCheck([d.date for d in report.days], report.quality)
    facts = {"folder": str(folder), "bar_seconds": report.bar_seconds, "days": rows, "sources": files, "quality": quality.to_dict()}
    lines = [f"{r['date']}: {r['action']}, {r['rows']} rows of {r['symbols']} symbols" for r in rows]
    return Outcome("dolphin.data-import/1", facts, "\n".join([*lines, quality.to_text()]))


add_pull_verb(data_app)


@verb(data_app, "list")
def list_(klines: KlinesFolder = None, days: DaysFolder = None, config: ConfigOption = None) -> Outcome:
    """What lies in the folders of klines and day tables."""
    from flows.inventory import inventory

    rows = inventory(loaded_config(config).settings.paths, klines, days)
    lines = [f"{r['kind']:<7} {r['folder']}: {r['days']} days {r['first']} .. {r['last']}, {r['megabytes']:.1f} MB" for r in rows]
    return Outcome(
        "dolphin.data-list/1", {"folders": rows}, "\n".join(lines) or "nothing yet; `dolphin data synth` or `dolphin data import`"
    )


@verb(data_app, "check")
def check(
    klines: KlinesFolder = None,
    days: DaysFolder = None,
    first: FromOption = "",
    last: ToOption = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Scan the klines again and compare the cached day tables.")] = False,
    config: ConfigOption = None,
) -> Outcome:
    """Gaps, quarantined values and refused files of klines; with --rebuild stale day tables. Exits 1 when anything was found."""
    settings = loaded_config(config).settings
    from dolphin.storage.klines import KlineStore
    from flows.inventory import check_klines
    from flows.scans import check_rebuild

    store = KlineStore(klines if klines is not None else Path(settings.paths.klines))
    if rebuild:
        folder = days if days is not None else Path(settings.paths.days)
        report: Any = check_rebuild(store, folder, settings, first, last, track=progress)
        return Outcome("dolphin.data-check-rebuild/1", report.to_dict(), report.to_text(), int(report.found))
    report = check_klines(store, first, last, track=progress)
    return Outcome("dolphin.data-check/1", report.to_dict(), report.to_text(), int(report.found))


@verb(data_app, "scan")
def scan(
    klines: KlinesFolder = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the day tables; default: the configured one.")] = None,
    first: FromOption = "",
    last: ToOption = "",
    force: Annotated[bool, typer.Option("--force", help="Scan days again; the old file stays as NAME.STALE_<date>.")] = False,
    archive: Annotated[Path | None, typer.Option(help="Also write the eigenvalue archive into this folder.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Scan klines into day tables; days that exist are kept unless --force."""
    settings = loaded_config(config, changes).settings
    from dolphin.storage.klines import KlineStore
    from flows.scans import scan_klines

    store = KlineStore(klines if klines is not None else Path(settings.paths.klines))
    folder = out if out is not None else Path(settings.paths.days)
    report = scan_klines(store, folder, settings, first, last, force=force, archive=archive, track=progress)
    return Outcome("dolphin.data-scan/1", report.to_dict(), report.to_text())


@verb(data_app, "audit")
def audit(
    klines: KlinesFolder = None,
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Day to audit; default: the last one.")] = "",
    samples: Annotated[int, typer.Option(min=1, max=10_000, help="Scans to recompute.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 7,
    matrices: Annotated[
        Path | None, typer.Option(help="Also write the sampled correlation matrices (.arb512.zst) into this folder.")
    ] = None,
    config: ConfigOption = None,
) -> Outcome:
    """Recompute sampled scans in 512-bit balls: does each float64 eigenvalue lie inside its enclosure? Exits 1 when one does not."""
    settings = loaded_config(config).settings
    if samples < 1:
        raise ConfigError(f"--samples {samples}: expected at least 1")
    from dolphin.storage.klines import KlineStore
    from flows.audit import audit_day

    store = KlineStore(klines if klines is not None else Path(settings.paths.klines))
    report = audit_day(store, date, samples, seed, matrices)
    return Outcome("dolphin.data-audit/1", report.to_dict(), report.to_text(), int(report.found))
