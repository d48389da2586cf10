"""The grid behind a Hazelcast client: every call is bounded in time, a client that died is replaced, watchers survive both."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from hazelcast.client import HazelcastClient
from hazelcast.errors import HazelcastError
from hazelcast.lifecycle import LifecycleState

from dolphin.deployment import GridConfig
from dolphin.errors import MissingDependency
from dolphin.grid.consensus import Consensus
from dolphin.grid.port import GridPort
from dolphin.grid.record import Raw, Reason
from dolphin.grid.strict import disable_pickle, harden

__all__ = ["HazelcastGrid"]

_log = logging.getLogger(__name__)
_GONE: Final = (HazelcastError, OSError)


class HazelcastGrid(GridPort):
    """Records in the maps of a Hazelcast cluster on this machine.

    A thread of its own makes the client, and makes a new one when it gave up (no member for ``connect_timeout_s``). ``wait``: return only
    when connected, else raise ``MissingDependency``; without it start unconnected and connect when the cluster comes.
    Calls wait ``call_timeout_s`` for an answer.
    """

    def __init__(self, config: GridConfig, name: str = "dolphin", *, wait: bool = True) -> None:
        super().__init__()
        logging.getLogger("hazelcast").addHandler(logging.NullHandler())  # else its warnings land on stderr in programs that log nothing
        disable_pickle()
        self.config, self.name = config, name
        self._client: HazelcastClient | None = None
        self._listening: set[str] = set()
        self._linked, self._closing = threading.Event(), threading.Event()
        self._down = threading.Event()
        self._consensus: Consensus | bool | None = None
        self._todo: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._scheduled = False
        self._events = ThreadPoolExecutor(1, thread_name_prefix="grid-events")
        self._keeper = threading.Thread(target=self._keep, name="grid-keeper", daemon=True)
        self._keeper.start()
        if wait and not self._linked.wait(config.connect_timeout_s + 1.0):
            self.close()
            raise self._missing(f"no member answered within {config.connect_timeout_s:g} s")

    @property
    def members(self) -> int:
        client = self._client
        return len(client.cluster_service.get_members()) if client is not None and self._linked.is_set() else 0

    @property
    def consensus(self) -> Consensus | None:
        """The CP subsystem, or None where the cluster has none; asked once, logged. Raises ``MissingDependency`` when it does not say."""
        with self._book:
            if self._consensus is None:
                found = Consensus(self._hazelcast, self.config.call_timeout_s)
                self._consensus = found if found.offered() else False
                _log.info("safety cell: %s", "CP subsystem" if self._consensus else "compare-and-set on a map, no CP subsystem here")
            return self._consensus if isinstance(self._consensus, Consensus) else None

    def close(self) -> None:
        """Leave the cluster. Neither a frozen member nor one that is sought holds this up longer than a call."""
        linked = self._linked.is_set()
        self._closing.set()
        self._down.set()
        if linked:
            self._keeper.join(self.config.call_timeout_s)
        self._events.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._consensus, Consensus):
            self._consensus.close()

    def _load(self, name: str, key: str) -> Raw:
        found: Raw = self._ask(name, lambda m: m.get(key))
        return found

    def _load_all(self, name: str) -> dict[str, Raw]:
        entries = self._ask(name, lambda m: m.entry_set())
        return {key: value for key, value in entries if key is not None and not isinstance(key, Reason)}

    def _store(self, name: str, key: str, text: str, ttl_s: float | None) -> None:
        self._ask(name, lambda m: m.set(key, text, ttl_s))

    def _store_many(self, name: str, texts: Mapping[str, str]) -> None:
        if texts:
            self._ask(name, lambda m: m.put_all(dict(texts)))

    def _add(self, name: str, key: str, text: str, ttl_s: float | None) -> bool:
        return self._ask(name, lambda m: m.put_if_absent(key, text, ttl_s)) is None

    def _swap(self, name: str, key: str, old: str, new: str) -> bool:
        return bool(self._ask(name, lambda m: m.replace_if_same(key, old, new)))

    def _extend(self, name: str, key: str, ttl_s: float) -> None:
        self._ask(name, lambda m: m.set_ttl(key, ttl_s))

    def _drop(self, name: str, key: str) -> None:
        self._ask(name, lambda m: m.delete(key))

    def _listen(self, name: str) -> None:
        """Register now, or, while the cluster is away, when it is there again (``_resume``)."""
        if self._linked.is_set():
            self._register(name)

    def _register(self, name: str) -> None:
        def changed(event: Any) -> None:
            self._later(self._changed, name, event.key, event.value)

        def removed(event: Any) -> None:
            self._later(self._changed, name, event.key, None)

        def cleared(_: Any) -> None:
            self._later(self._tell, name, "", Reason.RECONNECTED)

        with self._book:
            if name in self._listening:
                return
            self._listening.add(name)
        added = {f"{kind}_func": changed for kind in ("added", "updated", "merged", "loaded")}
        gone = {f"{kind}_func": removed for kind in ("removed", "evicted", "expired")}
        whole = {f"{kind}_func": cleared for kind in ("evict_all", "clear_all")}
        try:
            self._ask(name, lambda m: m.add_entry_listener(include_value=True, **added, **gone, **whole))
        except MissingDependency:
            self._listening.discard(name)

    def _changed(self, name: str, key: Raw, raw: Raw) -> None:
        if key is None or isinstance(key, Reason):
            self._entry(name, "", Reason.NOT_TEXT)
        else:
            self._tell(name, key, raw)

    def _later(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run it on the event thread: the client's own thread must neither wait nor see an exception."""
        self._todo.append((function, arguments))
        if not self._scheduled and not self._closing.is_set():
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._events.submit(self._work).add_done_callback(_report)

    def _work(self) -> None:
        self._scheduled = False
        try:
            while self._todo:
                function, arguments = self._todo.popleft()
                function(*arguments)
        finally:
            if self._todo and not self._closing.is_set():
                self._schedule()

    def _resume(self) -> None:
        """After every connection: register what is not registered, and tell all watchers to read again."""
        for name in list(self._watchers):
            self._register(name)
            self._tell(name, "", Reason.RECONNECTED)

    def _hazelcast(self) -> HazelcastClient:
        client = self._client
        if self._closing.is_set():
            raise MissingDependency(f"this connection to the grid {self.config.cluster} is closed")
        if client is None or not self._linked.is_set():
            raise self._missing("it is away")
        return client

    def _ask(self, name: str, call: Callable[[Any], Any]) -> Any:
        """The answer to ``call`` on a map, within ``call_timeout_s``."""
        done = threading.Event()
        try:
            answer = call(self._hazelcast().get_map(name))
            answer.add_done_callback(lambda _: done.set())
            if not done.wait(self.config.call_timeout_s):
                raise self._missing(f"no answer about {name} within {self.config.call_timeout_s:g} s")
            return answer.result()
        except _GONE as error:
            raise self._missing(f"{name}: {type(error).__name__}: {error}") from error

    def _missing(self, why: str) -> MissingDependency:
        place = f"grid {self.config.cluster} at 127.0.0.1:{self.config.port}"
        return MissingDependency(f"{place}: {why}; start it with `dolphin grid start`, or set grid.kind = embedded")

    def _keep(self) -> None:
        """Make a client and wait for its end, again and again."""
        while not self._closing.is_set():
            self._down.clear()
            try:
                client = self._connect()
            except _GONE as error:
                _log.warning("grid %s: %s", self.config.cluster, error)
                self._closing.wait(0.5)
                continue
            harden(client)
            self._client, self._listening = client, set()
            if client.lifecycle_service.is_running():
                self._linked.set()
                if self._watchers:
                    self._later(self._resume)
                self._down.wait()
            self._linked.clear()
            client.shutdown()

    def _connect(self) -> HazelcastClient:
        first, config = self.config.port, self.config
        return HazelcastClient(
            cluster_name=config.cluster,
            cluster_members=[f"127.0.0.1:{first + i}" for i in range(config.members)],
            client_name=self.name,
            connection_timeout=min(5.0, config.connect_timeout_s),
            cluster_connect_timeout=config.connect_timeout_s,
            retry_initial_backoff=0.1,
            retry_max_backoff=0.5,
            retry_multiplier=1.5,
            retry_jitter=0.2,
            reconnect_mode="ASYNC",
            redo_operation=False,
            invocation_timeout=config.call_timeout_s,
            heartbeat_interval=1.0,
            heartbeat_timeout=config.call_timeout_s,
            default_int_type="LONG",
            lifecycle_listeners=[self._moved],
        )

    def _moved(self, state: str) -> None:
        if state == LifecycleState.CONNECTED and self._client is not None and self._client.lifecycle_service.is_running():
            self._linked.set()
            self._later(self._resume)
        elif state in (LifecycleState.DISCONNECTED, LifecycleState.SHUTTING_DOWN, LifecycleState.SHUTDOWN):
            self._linked.clear()
            if state == LifecycleState.SHUTDOWN:
                self._down.set()


def _report(done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _log.error("a watcher failed: %s: %s", type(error).__name__, error)
