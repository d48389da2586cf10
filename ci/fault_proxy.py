"""A wire between clients and a member that can be slow, or dead in one direction: as on a network, nothing is lost, it comes later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

__all__ = ["Proxy"]


class Proxy:
    """Listens on 127.0.0.1:``port`` and speaks with 127.0.0.1:``target``. ``delay_s``: each way; ``held``: directions ("up": from the
    clients, "down": from the member) in which nothing gets through for now."""

    def __init__(self, port: int, target: int) -> None:
        self.delay_s = 0.0
        self.held: set[str] = set()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", port))

    def close(self) -> None:
        """Cut every connection."""
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _shut(self) -> None:
        self._server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, back, "up"), self._pump(there, writer, "down"))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = self._loop.create_task(self._deliver(queue, writer, way))
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                queue.put_nowait((self._loop.time() + self.delay_s, data))
        queue.put_nowait((0.0, b""))
        await delivery

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError):
            while (item := await queue.get())[1]:
                await asyncio.sleep(max(0.0, item[0] - self._loop.time()))
                while way in self.held:
                    await asyncio.sleep(0.05)
                writer.write(item[1])
                await writer.drain()
        writer.close()
