"""Two of kombu's transports, corrected. They know no context.

`filesystem://`: with kombu's transport a message file can be read while it is written, an empty
file or a deleted folder ends the worker, and the binding table is truncated before it is locked.
Here each file is written under a temporary name and renamed, and a deleted folder is recreated.

`redis://`: with kombu's transport a connection that breaks while messages are unacknowledged ends
the worker or logs a traceback, because it acknowledges or restores them through the closed
connection. Redis delivers them again without that.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from time import time_ns
from typing import Any

from kombu.transport import filesystem, redis
from kombu.utils.json import dumps


class FilesystemChannel(filesystem.Channel):
    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return super()._get(queue)
        except FileNotFoundError:
            Path(self.data_folder_in).mkdir(parents=True, exist_ok=True)
            raise Empty from None

    def _put(  # type: ignore[override]  # two stubs contradict each other
        self, queue: str, payload: Any, **kwargs: Any
    ) -> None:
        name = f"{time_ns()}_{uuid.uuid4()}.{queue}.msg"
        _write_atomically(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str
    ) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        file = Path(self.control_folder) / f"{exchange}.exchange"
        with _locked(file.with_suffix(".lock")):
            table = self.get_table(exchange)
            if binding not in table:
                _write_atomically(file, dumps([binding, *table]))


class FilesystemTransport(filesystem.Transport):
    Channel = FilesystemChannel


class RedisQoS(redis.QoS):
    def ack(self, delivery_tag: str) -> None:
        if self._is_connected():
            with suppress(*self.channel.connection.connection_errors):
                super().ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        if self._is_connected():
            super().restore_unacked_once(stderr)
        else:
            # Without this it would be called again when the process ends.
            self._on_collect.cancel()  # type: ignore[attr-defined]

    def _is_connected(self) -> bool:
        transport = self.channel.connection
        return transport is not None and transport.client is not None


class RedisChannel(redis.Channel):
    QoS = RedisQoS


class RedisTransport(redis.Transport):
    Channel = RedisChannel


def _write_atomically(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{uuid.uuid4()}.unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
