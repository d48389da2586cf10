"""Serve all deployments from this process: each run is a process of its own, started and ended by it."""

from __future__ import annotations

import asyncio
import importlib
import signal
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from flows.deployments.catalogue import DEPLOYMENTS, FLOWS, Deployment

__all__ = ["POLL_S", "serve"]

POLL_S = 2.0
"""Seconds between looks for runs that are due or cancelled."""


def serve(limit: int, config: Path) -> None:
    """Register the deployments and run what is due, until SIGTERM or Ctrl-C, which end the runs in order and pause the schedules.

    ``config``: the settings file of every run.
    """
    _bury()
    runner = _Runner(limit=limit, query_seconds=POLL_S)
    for deployment in DEPLOYMENTS:
        runner.add_deployment(_deployed(deployment, config))
    signal.signal(signal.SIGINT, runner.handle_sigterm)
    print(f"{len(DEPLOYMENTS)} deployments are being served until Ctrl-C: `dolphin flows list` shows them", flush=True)
    asyncio.run(runner.start())


class _Runner(Runner):
    """Ends its runs before itself. Prefect's own handler makes the coroutine that would, and never awaits it (3.8.8)."""

    _ending: asyncio.Task[None] | None = None

    async def __aexit__(self, *exc_info: Any) -> None:
        """A server that was stopped first has nothing to be paused in; Prefect's client would ask it for half a minute, and then fail."""
        self.pause_on_shutdown = await _answers()
        await super().__aexit__(*exc_info)

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        if self._ending is not None:  # asked twice: at once, then
            raise KeyboardInterrupt
        asyncio.get_running_loop().call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self.astop())


async def _answers() -> bool:
    """Whether the server is there."""
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        try:
            return (await client.get(f"{PREFECT_API_URL.value()}/health")).is_success
        except httpx.HTTPError:
            return False


def _deployed(deployment: Deployment, config: Path) -> Any:
    module, _, name = FLOWS[deployment.flow].entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    schedule = Cron(deployment.cron, timezone="UTC", active=deployment.active, parameters=dict(deployment.scheduled))
    return flow.to_deployment(
        deployment.name,
        schedule=schedule,
        parameters={**deployment.parameters, "config": str(config)},
        tags=deployment.tags,
        description=flow.__doc__,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy(deployment.collision)),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _bury() -> None:
    """Runs that an earlier ``serve`` took with it when it was killed would count as running for ever, and keep new ones out."""
    names = DeploymentFilterName(any_=sorted({deployment.name for deployment in DEPLOYMENTS}))
    living = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=names), flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=living))
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message="The process that served this run was killed."), force=True)
