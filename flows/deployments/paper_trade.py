"""``paper-trade`` as a Prefect flow."""

from __future__ import annotations

import os
from typing import Any, Literal

from prefect import flow
from prefect.logging import get_run_logger

from flows.deployments.artifacts import shown
from flows.paper import PaperJob
from flows.paper import paper_trade as trade

__all__ = ["paper_trade"]


@flow(name="paper-trade")
def paper_trade(
    lane: Literal["BLUE", "GREEN"] = "BLUE",
    hours: float = 24.0,
    keep: bool = False,
    replay: str = "",
    speed: float = 60.0,
    config: str = "",
) -> dict[str, Any]:
    """Trade one lane on paper for so many hours. Cancelling the run stops the lane as its settings ask for."""
    job, parent = PaperJob(lane=lane, hours=hours, keep=keep, replay=replay, speed=speed, config=config), os.getppid()
    return trade(job, get_run_logger().info, shown, lambda: os.getppid() != parent).to_dict()
