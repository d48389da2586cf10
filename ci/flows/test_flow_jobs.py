"""Scheduled jobs as plain functions and as `dolphin flows run`: no server, no Prefect; and the table of deployments behind both."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
import yaml
from lane_worlds import write_market

from dolphin.errors import ConfigError, QualityError
from dolphin.storage.day_table import list_days, read_day, write_day
from flows.deployments.catalogue import DEPLOYMENTS, FLOWS, named
from flows.deployments.project import project_file
from flows.job import JobReport, asked
from flows.jobs import AuditJob, BackfillJob, BacktestJob, ForewarnerJob, data_audit, mc_forewarner, nightly_backtest, scan_backfill

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def klines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole days."""
    return write_market(tmp_path_factory.mktemp("klines"), 1440, 1440)


def dolphin(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    own = os.environ | {"PYTHONPATH": path, "DOLPHIN__PATHS__STATE": str(folder / "state")}
    command = [sys.executable, "-m", "flows.cli", "flows", *words]
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False)


def test_a_backfill_writes_missing_and_partial_days_and_keeps_the_whole_ones(klines, tmp_path):
    """A second one has nothing to do."""
    job = BackfillJob(klines=str(klines), days=str(tmp_path))
    assert scan_backfill(job).facts["written"] == ["2025-01-01", "2025-01-02"]
    table = read_day(tmp_path / "2025-01-02.parquet")
    (tmp_path / "2025-01-02.parquet").unlink()
    write_day(tmp_path, table, partial=True)
    kept = (tmp_path / "2025-01-01.parquet").stat().st_mtime_ns
    again = scan_backfill(job)
    assert (again.facts["written"], again.facts["kept"], again.found) == (["2025-01-02"], ["2025-01-01"], False)
    assert ([path.stem for path in list_days(tmp_path)], list_days(tmp_path, partial=True)) == (["2025-01-01", "2025-01-02"], ())
    assert (tmp_path / "2025-01-01.parquet").stat().st_mtime_ns == kept
    assert scan_backfill(job).rows == []


def test_an_audit_finds_a_gap_and_nothing_in_whole_days(klines, tmp_path):
    assert not data_audit(AuditJob(klines=str(klines), samples=1)).found
    holed = data_audit(AuditJob(klines=str(write_market(tmp_path / "holed", 1440, 700)), samples=0))
    assert holed.found
    assert {"finding": "missing bars", "count": 740} in holed.rows


def test_a_backtest_runs_the_newest_days_and_reports_both_ledgers(klines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = nightly_backtest(BacktestJob(klines=str(klines), direction="LONG"))
    assert (report.key, report.facts["first"], report.facts["last"]) == ("nightly-backtest-long", "2025-01-02", "2025-01-02")
    assert (Path(report.facts["run"]) / "report.html").is_file()
    assert {"figure", "honest", "champion"} == set(report.rows[0])
    assert "honest" in report.text


@pytest.mark.parametrize("job", [BackfillJob, AuditJob, BacktestJob], ids=lambda job: job.__name__)
def test_a_folder_that_is_not_there_is_refused(job, tmp_path):
    bodies = {BackfillJob: scan_backfill, AuditJob: data_audit, BacktestJob: nightly_backtest}
    with pytest.raises(QualityError, match="there is no such folder"):
        bodies[job](job(klines=str(tmp_path / "nowhere")))


def test_a_forewarner_without_a_table_says_how_to_get_one():
    with pytest.raises(ConfigError, match="dolphin forewarner train"):
        mc_forewarner(ForewarnerJob())


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (AuditJob, {"days": "0"}, "days"),
        (AuditJob, {"samples": "many"}, "samples"),
        (AuditJob, {"dys": "1"}, "parameters: klines, days, samples, config"),
        (BacktestJob, {"direction": "UP"}, "direction"),
        (BackfillJob, {"first": "yesterday"}, "first"),
    ],
)
def test_parameters_are_checked_by_name(kind, given, words):
    with pytest.raises(ConfigError, match=words):
        asked(kind, given)
    assert asked(AuditJob, {"days": "3"}).days == 3


def test_every_flow_has_a_body_that_takes_its_job_and_a_wrapper_with_the_same_parameters():
    """Read without Prefect: the wrapper's parameters from its source."""
    for spec in FLOWS.values():
        kind, body = spec.load()
        hints = get_type_hints(body)
        assert (hints[next(iter(inspect.signature(body).parameters))], hints["return"]) == (kind, JobReport)
        module, _, function = spec.entrypoint.rpartition(".")
        source = Path(importlib.util.find_spec(module).origin).read_text()
        head = source[source.index(f"def {function}(") :].split(")")[0]
        assert {field for field in kind.__struct_fields__ if f"{field}:" not in head} == set()


def test_deployments_give_their_flows_parameters_that_exist():
    for deployment in DEPLOYMENTS:
        spec, parameters = named(deployment.full_name)
        for given in (parameters, {**parameters, **deployment.scheduled}):
            assert isinstance(asked(spec.load()[0], given), msgspec.Struct)
    assert len({deployment.full_name for deployment in DEPLOYMENTS}) == len(DEPLOYMENTS)
    with pytest.raises(ConfigError, match="paper-trade/green"):
        named("paper-trade/red")


def test_the_project_file_says_what_the_catalogue_says():
    found = yaml.safe_load(project_file())["deployments"]
    assert [(entry["name"], entry["tags"]) for entry in found] == [(d.name, d.tags) for d in DEPLOYMENTS]
    blue = found[0]
    assert blue["schedules"] == [{"cron": "0 0 * * *", "timezone": "UTC", "active": False, "parameters": {"hours": 23.9, "keep": True}}]
    assert blue["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert (CHECKOUT / "configs" / "prefect.yaml").read_text() == project_file()


def test_a_job_runs_from_the_command_line_without_prefect(klines, tmp_path):
    done = dolphin(tmp_path, "run", "data-audit/nightly", "-p", f"klines={klines}", "-p", "samples=0", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["schema"], told["flow"], told["found"]) == (0, "dolphin.flows-run/1", "data-audit", False)
    assert (told["first"], told["last"]) == ("2025-01-01", "2025-01-02")
    wrong = dolphin(tmp_path, "run", "data-audit", "-p", "days")
    assert (wrong.returncode, "expected NAME=VALUE" in wrong.stderr) == (2, True)


def test_schedules_are_listed_without_a_server_and_serving_needs_one(tmp_path):
    told = json.loads(dolphin(tmp_path, "list", "--json").stdout)
    assert [(row["name"], row["registered"]) for row in told["deployments"]] == [(d.full_name, False) for d in DEPLOYMENTS]
    served = dolphin(tmp_path, "serve")
    assert (served.returncode, "dolphin flows server start" in served.stderr) == (4, True)
    status = dolphin(tmp_path, "server", "status")
    assert (status.returncode, status.stdout.strip()) == (1, "not running")
    assert dolphin(tmp_path, "server", "stop").stdout.strip() == "was not running"


def test_a_server_refuses_a_port_that_somebody_else_has(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = dolphin(tmp_path, "server", "start", "--port", str(other.getsockname()[1]))
    assert (done.returncode, "is taken, and not by this deployment's Prefect server" in done.stderr) == (4, True)
    assert not (tmp_path / "state" / "prefect" / "prefect.db").exists()
