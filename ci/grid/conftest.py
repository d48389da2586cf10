"""Grids under test: the embedded one, and real members on free ports with clusters of random names."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dolphin.config import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.client import HazelcastGrid
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.member import MemberPlan
from dolphin.grid.port import GridPort
from dolphin.grid.process import MemberProcess, start_members, stop_member
from flows.workspace import jar_folder

TARGETS = {
    "embedded": None,
    "5.7.0": ("5.7.0", 1),
    "5.4.0": ("5.4.0", 1),
    "5.4.0 x 3": ("5.4.0", 3),
}


@dataclass
class Cluster:
    """Members of one cluster and how to reach them."""

    config: GridConfig
    members: list[MemberProcess]
    state: Path

    def connect(self, name: str = "test") -> HazelcastGrid:
        return HazelcastGrid(self.config, name)

    def restart(self) -> None:
        """A new, empty member where the first one was."""
        self.members = start_members(plans(self.config), self.state, jar_folder(self.config.server))


def plans(config: GridConfig) -> list[MemberPlan]:
    ports = tuple(range(config.port, config.port + config.members))
    return [MemberPlan(config.cluster, config.server, port, ports) for port in ports]


def free_ports(many: int) -> int:
    """First of so many free ports in a row."""
    while True:
        with ExitStack() as held:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
            try:
                for port in range(first + 1, first + many):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            if first + many < 65_000:
                return int(first)


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
def cluster_of(start_cluster: Callable[..., Cluster]) -> Callable[[str], Cluster]:
    """The session's cluster of a target."""
    running: dict[str, Cluster] = {}

    def get(target: str) -> Cluster:
        if target not in running:
            running[target] = start_cluster(*TARGETS[target])
        return running[target]

    return get


@pytest.fixture(params=TARGETS)
def grid(request: pytest.FixtureRequest, cluster_of: Callable[[str], Cluster]) -> Iterator[GridPort]:
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
