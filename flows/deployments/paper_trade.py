"""``paper-trade`` as a Prefect flow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows.deployments.artifacts import shown
from flows.paper import PaperJob, Wish
from flows.paper import paper_trade as trade
from flows.prefect_server import API_VARIABLE, cancelling_for

__all__ = ["paper_trade"]

ASK_S: Final = 2.0
DEAF_S: Final = 4.0
"""A runner that has not ended a cancelled run after so long does not hear: since its server was restarted, for one."""


@flow(name="paper-trade")
def paper_trade(
    lane: Literal["BLUE", "GREEN"] = "BLUE",
    hours: float = 24.0,
    keep: bool = False,
    replay: str = "",
    speed: float = 60.0,
    config: str = "",
) -> Any:
    """Trade one lane on paper for so many hours. Cancelling the run stops the lane as its settings ask for."""
    job = PaperJob(lane=lane, hours=hours, keep=keep, replay=replay, speed=speed, config=config)
    found = trade(job, get_run_logger().info, shown, _wish())
    if found.facts["why"] == Wish.STOP:
        return Cancelled(message=found.facts["why"])
    return found.to_dict()


def _wish() -> Callable[[], Wish]:
    """Asks whether the runner that started this process is there, and, now and then, whether the run was cancelled behind its back."""
    parent, run, url = os.getppid(), str(flow_run.id or ""), os.environ.get(API_VARIABLE, "")
    due = time.monotonic() + ASK_S

    def asked() -> Wish:
        nonlocal due
        if os.getppid() != parent:
            return Wish.LEAVE
        if not run or not url or time.monotonic() < due:
            return Wish.GO_ON
        due = time.monotonic() + ASK_S
        return Wish.STOP if cancelling_for(url, run) > DEAF_S else Wish.GO_ON

    return asked
