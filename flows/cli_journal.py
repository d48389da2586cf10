"""Verbs under `dolphin journal`: what was decided and why, the proof that nothing was altered, and the way to parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, verb

__all__ = ["journal_app"]

journal_app = typer.Typer(help="What lanes and services have decided and why: show, verify, export.", no_args_is_help=True)

LaneOption = Annotated[str, typer.Option("--lane", help="One lane or service; default: all that have a journal.")]
KindOption = Annotated[str, typer.Option("--kind", help="One kind of record: bar, trade, day_result, posture, kill ...")]


@verb(journal_app, "show")
def show(
    lane: LaneOption = "",
    kind: KindOption = "",
    last: Annotated[int, typer.Option("--last", min=1, max=100_000, help="How many of the newest records.")] = 20,
    config: ConfigOption = None,
    changes: SetOption = None,
) -> Outcome:
    """The newest records, oldest first."""
    folder = _folder(config, changes)
    from flows.journal import newest, record_facts, record_line

    records = newest(folder, lane, kind, last)
    text = "\n".join(map(record_line, records)) or "no such record yet"
    return Outcome("dolphin.journal/1", {"folder": str(folder), "records": [record_facts(r) for r in records]}, text)


@verb(journal_app, "verify")
def verify(lane: LaneOption = "", config: ConfigOption = None, changes: SetOption = None) -> Outcome:
    """Prove the hash chain, the numbering and the head of each journal. Exits 1 when one is broken, and names the record."""
    folder = _folder(config, changes)
    from flows.journal import verdicts

    found = verdicts(folder, lane)
    facts = {"folder": str(folder), "journals": [v.to_dict() for v in found]}
    return Outcome("dolphin.journal-verify/1", facts, "\n".join(v.to_text() for v in found), int(not all(v.ok for v in found)))


@verb(journal_app, "export")
def export(
    out: Annotated[Path, typer.Argument(help="A file OUT.parquet, or a folder for a file a kind.")],
    lane: LaneOption = "",
    kind: KindOption = "",
    date: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="Only this UTC day.")] = "",
    config: ConfigOption = None,
    changes: SetOption = None,
) -> Outcome:
    """Records as parquet. With --kind, or into a folder: every field of the payload is a column. Otherwise one file, payloads as JSON."""
    folder = _folder(config, changes)
    from flows.journal import export_records

    files = export_records(folder, lane, kind, date, out)
    rows = sum(files.values())
    text = f"{rows} records in {out}" + ("".join(f"\n  {n:>9,} {Path(file).name}" for file, n in files.items()) if len(files) > 1 else "")
    return Outcome("dolphin.journal-export/1", {"file": str(out), "records": rows, "files": files}, text)


def _folder(config: Path | None, changes: list[str] | None) -> Path:
    """``paths.journal``, or the journals of what `dolphin up` runs."""
    from flows.workspace import state_folder

    paths = loaded_config(config, changes).settings.paths
    return Path(paths.journal) if paths.journal else state_folder(paths, "journal")
