"""A Hazelcast member as text: its configuration, its command line, and the configuration of the console that talks to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CONSENSUS_SERVER", "MemberPlan", "client_yaml", "console_command", "member_command", "member_yaml"]

CONSENSUS_SERVER: Final = "5.4.0"
"""The last open-source release with a CP subsystem; later ones refuse to start when it is configured."""

_OPENED = "java.base/java.lang java.base/sun.nio.ch java.management/sun.management jdk.management/com.sun.management.internal"


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """One member: ``ports`` are those of the whole cluster, all on 127.0.0.1."""

    cluster: str
    server: str
    port: int
    ports: tuple[int, ...]

    @property
    def consensus(self) -> int:
        """Members of the CP subsystem; 0 = none, or with 5.4.0 the unsafe mode."""
        return len(self.ports) if self.server == CONSENSUS_SERVER and len(self.ports) >= 3 else 0


def member_yaml(plan: MemberPlan) -> str:
    """Loopback only, nothing discovered, nothing sent home, health as the only HTTP answer; backups only where there is another member."""
    backups = 1 if len(plan.ports) > 1 else 0
    text = f"""\
hazelcast:
  cluster-name: {plan.cluster}
  properties:
    hazelcast.phone.home.enabled: "false"
    hazelcast.socket.bind.any: "false"
    hazelcast.logging.type: jdk
    hazelcast.partition.count: "31"
    hazelcast.map.invalidation.batch.enabled: "false"
    hazelcast.max.no.heartbeat.seconds: "10"
    hazelcast.heartbeat.interval.seconds: "2"
    hazelcast.wait.seconds.before.join: "1"
    hazelcast.merge.first.run.delay.seconds: "10"
    hazelcast.merge.next.run.delay.seconds: "10"
    hazelcast.shutdownhook.policy: GRACEFUL
    hazelcast.graceful.shutdown.max.wait: "5"
  network:
    public-address: 127.0.0.1:{plan.port}
    port: {{ port: {plan.port}, auto-increment: false }}
    interfaces: {{ enabled: true, interfaces: [127.0.0.1] }}
    rest-api:
      enabled: true
      endpoint-groups:
        HEALTH_CHECK: {{ enabled: true }}
        CLUSTER_READ: {{ enabled: false }}
        CLUSTER_WRITE: {{ enabled: false }}
        DATA: {{ enabled: false }}
    join:
      auto-detection: {{ enabled: false }}
      multicast: {{ enabled: false }}
      tcp-ip: {{ enabled: true, member-list: [{", ".join(f'"127.0.0.1:{port}"' for port in plan.ports)}] }}
  serialization:
    java-serialization-filter: {{ defaults-disabled: false }}
  map:
    default:
      backup-count: {backups}
"""
    if plan.consensus:
        text += f"""\
  cp-subsystem:
    cp-member-count: {plan.consensus}
    group-size: 3
    session-time-to-live-seconds: 30
    session-heartbeat-interval-seconds: 5
    fail-on-indeterminate-operation-state: true
"""
    return text


def member_command(java: str, jars: Sequence[Path], config: Path) -> list[str]:
    """The JVM: 256 MB, one collector thread, light compilation (it serves small maps), IPv4."""
    opened = [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED.split()]
    flags = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    network = ["-Djava.net.preferIPv4Stack=true", f"-Dhazelcast.config={config}"]
    export = "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED"
    return [java, *flags, export, *opened, *network, "-cp", _class_path(jars), "com.hazelcast.core.server.HazelcastMemberStarter"]


def client_yaml(cluster: str, ports: Sequence[int]) -> str:
    """Configuration of Hazelcast's own console."""
    addresses = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f"""\
hazelcast-client:
  cluster-name: {cluster}
  properties:
    hazelcast.phone.home.enabled: "false"
    hazelcast.logging.type: none
  network:
    cluster-members: [{addresses}]
  connection-strategy:
    connection-retry: {{ cluster-connect-timeout-millis: 5000 }}
"""


def console_command(java: str, jars: Sequence[Path], config: Path) -> list[str]:
    """Hazelcast's official interactive console; it reads commands from a terminal or from a pipe."""
    flags = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]
    flags += ["-Dhazelcast.logging.type=none", "-Dorg.jline.terminal.dumb=true"]  # a pipe is no terminal, and no reason for a warning
    return [java, *flags, f"-Dhazelcast.client.config={config}", "-cp", _class_path(jars), "com.hazelcast.client.console.ClientConsoleApp"]


def _class_path(jars: Sequence[Path]) -> str:
    return ":".join(map(str, jars))
