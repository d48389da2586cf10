"""``prefect.yaml`` from the catalogue: the same deployments for a work pool, where workers run them."""

from __future__ import annotations

import json
from typing import Final

from flows.deployments.catalogue import DEPLOYMENTS, FLOWS, Deployment

__all__ = ["POOL", "project_file"]

POOL: Final = "dolphin"
HEAD: Final = f"""\
# Deployments for a Prefect work pool: prefect work-pool create {POOL} --type process
#                                     prefect --no-prompt deploy --prefect-file configs/prefect.yaml --all
# `dolphin flows serve` needs no pool and is the better host of paper-trade: a process worker that is ended kills its runs without a word
# (the lane trades on under its supervisor, and the next run adopts it). Workers start anywhere: DOLPHIN_CONFIG names,
# when this is deployed, a settings file with absolute folders (`dolphin flows serve` keeps one in the state folder, prefect/dolphin.toml).
name: dolphin
pull: []
deployments:
"""


def project_file() -> str:
    """Its text."""
    return HEAD + "".join(_entry(deployment) for deployment in DEPLOYMENTS)


def _entry(deployment: Deployment) -> str:
    """JSON values are YAML values."""
    module, _, function = FLOWS[deployment.flow].entrypoint.rpartition(".")
    scheduled = f"\n        parameters: {json.dumps(dict(deployment.scheduled))}" if deployment.scheduled else ""
    return f"""\
  - name: {deployment.name}
    entrypoint: {module}:{function}
    parameters: {json.dumps({**deployment.parameters, "config": "{{ $DOLPHIN_CONFIG }}"})}
    tags: {json.dumps(deployment.tags)}
    schedules:
      - cron: "{deployment.cron}"
        timezone: UTC
        active: {json.dumps(deployment.active)}{scheduled}
    concurrency_limit:
      limit: 1
      collision_strategy: {deployment.collision}
    work_pool:
      name: {POOL}
"""
