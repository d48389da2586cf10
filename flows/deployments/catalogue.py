"""Which flows there are, and how each is deployed: parameters, schedule (UTC), tags, and what happens to a second run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dolphin.errors import ConfigError
from flows.job import Job, JobReport

__all__ = ["DEPLOYMENTS", "FLOWS", "Deployment", "FlowSpec", "named"]


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow: ``entrypoint`` (module.function, imports Prefect) around ``body`` (module.function), which takes a ``job``."""

    name: str
    entrypoint: str
    body: str
    job: str

    def load(self) -> tuple[type[Job], Callable[[Any], JobReport]]:
        """Parameters and body."""
        module, _, function = self.body.rpartition(".")
        found = importlib.import_module(module)
        return getattr(found, self.job), getattr(found, function)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow under a name. ``cron`` is UTC, ``scheduled``: parameters of scheduled runs only; ``active``: the schedule starts switched on.

    One run at a time: a second one of ``paper`` is cancelled, of another waits.
    """

    flow: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cron: str = ""
    active: bool = True
    scheduled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As `prefect deployment run` takes it."""
        return f"{self.flow}/{self.name}"

    @property
    def paper(self) -> bool:
        """Whether it trades."""
        return self.flow == "paper-trade"

    @property
    def tags(self) -> list[str]:
        """For filters."""
        return ["dolphin", "paper" if self.paper else "batch"]

    @property
    def collision(self) -> str:
        """What Prefect does with a second run."""
        return "CANCEL_NEW" if self.paper else "ENQUEUE"


FLOWS: Final = {
    spec.name: spec
    for spec in (
        FlowSpec("paper-trade", "flows.deployments.paper_trade.paper_trade", "flows.paper.paper_trade", "PaperJob"),
        FlowSpec("mc-forewarner", "flows.deployments.batch.mc_forewarner", "flows.jobs.mc_forewarner", "ForewarnerJob"),
        FlowSpec("scan-backfill", "flows.deployments.batch.scan_backfill", "flows.jobs.scan_backfill", "BackfillJob"),
        FlowSpec("nightly-backtest", "flows.deployments.batch.nightly_backtest", "flows.jobs.nightly_backtest", "BacktestJob"),
        FlowSpec("data-audit", "flows.deployments.batch.data_audit", "flows.jobs.data_audit", "AuditJob"),
    )
}

HANDED_ON: Final = {"hours": 23.9, "keep": True}
"""A scheduled session ends before the next one begins, and the lane trades on between them."""

DEPLOYMENTS: Final = (
    Deployment("paper-trade", "blue", {"lane": "BLUE"}, "0 0 * * *", active=False, scheduled=HANDED_ON),
    Deployment("paper-trade", "green", {"lane": "GREEN"}, "0 0 * * *", active=False, scheduled=HANDED_ON),
    Deployment("mc-forewarner", "daily", cron="1 0 * * *"),
    Deployment("scan-backfill", "nightly", cron="20 0 * * *"),
    Deployment("nightly-backtest", "blue", {"direction": "SHORT"}, "40 0 * * *"),
    Deployment("nightly-backtest", "green", {"direction": "LONG"}, "50 0 * * *"),
    Deployment("data-audit", "nightly", {"days": 2}, "10 1 * * *"),
    Deployment("data-audit", "weekly", {"days": 30, "samples": 50}, "0 2 * * 0"),
)


def named(name: str) -> tuple[FlowSpec, Mapping[str, Any]]:
    """The flow of a deployment (``paper-trade/blue``) with its parameters, or a flow (``paper-trade``) with none.

    Raises ``ConfigError`` that names what there is.
    """
    found = next((d for d in DEPLOYMENTS if d.full_name == name), None)
    if found is None and name not in FLOWS:
        raise ConfigError(f"no flow {name!r}: there are {', '.join([*FLOWS, *(d.full_name for d in DEPLOYMENTS)])}")
    return FLOWS[name if found is None else found.flow], {} if found is None else found.parameters
