"""Grids under test: the embedded one, and real members on free ports with clusters of random names."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from grid_clusters import TARGETS, Clocks, Cluster, free_ports, plans

from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort
from dolphin.grid.process import start_members, stop_member
from flows.workspace import jar_folder


@pytest.fixture(scope="session")
def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters; all of them are stopped at the end. Skips with what to install where there is no Java or no jars."""
    clusters: list[Cluster] = []

    def start(server: str = "5.7.0", members: int = 1) -> Cluster:
        config = GridConfig(
            kind="hazelcast", cluster=f"test-{uuid.uuid4().hex[:8]}", port=free_ports(members), members=members, server=server
        )
        state = tmp_path_factory.mktemp("grid")
        try:
            cluster = Cluster(config, start_members(plans(config), state, jar_folder(server)), state)
        except MissingDependency as error:
            if "java" in str(error).lower() or "fetches it by Maven" in str(error):
                pytest.skip(str(error))
            raise
        clusters.append(cluster)
        return cluster

    yield start
    for cluster in clusters:
        for member in cluster.members:
            stop_member(member, patience_s=0.0)


@pytest.fixture(scope="session")
def cluster_of(start_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    """The session's cluster of a target; ``last``: the caller will hurt it, whoever comes later gets another."""
    running: dict[str, Cluster] = {}

    def get(target: str, last: bool = False) -> Cluster:
        cluster = running[target] if target in running else start_cluster(*TARGETS[target])
        running[target] = cluster
        if last:
            del running[target]
        return cluster

    return get


@pytest.fixture(params=TARGETS)
def grid(request: pytest.FixtureRequest, cluster_of: Callable[..., Cluster]) -> Iterator[GridPort]:
    """A grid with nothing in it."""
    if TARGETS[request.param] is None:
        found: GridPort = EmbeddedGrid()
    else:
        found = cluster_of(request.param).connect()
    for name in ("M", "N", "SHARED", "M0", "M1", "M2", "DOLPHIN_SAFETY", "DOLPHIN_LEASES", "DOLPHIN_FEATURES", "DOLPHIN_CONTROL"):
        if isinstance(found, HazelcastGrid):
            found._ask(name, lambda m: m.clear())
    yield found
    found.close()


@pytest.fixture
def clocks() -> Clocks:
    """Both clocks of a view, moved by hand."""
    return Clocks()
