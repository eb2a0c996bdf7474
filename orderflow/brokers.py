"""Two of kombu's brokers, made to survive what happens to brokers. They know no context.

`filesystem://`, the embedded default: as kombu ships it, a message file can be read while it is being written, one empty file
ends the worker, and so does a folder that somebody cleans up; the table of queues is emptied before it is locked. Here every
file appears whole, by renaming a finished temporary file, and a folder that is gone is made anew.

`redis://`: as kombu ships it, a connection that breaks while wake-ups are not acknowledged ends the worker: it acknowledges them,
or gives them back, through a connection that is torn down already. Redis hands them out again by itself.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # two stubs contradict
        _write_whole(Path(self.data_folder_out) / f"{time_ns()}_{uuid.uuid4()}.{queue}.msg", dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        file = Path(self.control_folder) / f"{exchange}.exchange"
        with _locked(file.with_suffix(".lock")):
            table = self.get_table(exchange)
            if binding not in table:
                _write_whole(file, dumps([binding, *table]))


class FilesystemTransport(filesystem.Transport):
    Channel = FilesystemChannel


class RedisQoS(redis.QoS):
    def ack(self, delivery_tag: str) -> None:
        if self._is_connected():
            super().ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        if self._is_connected():
            super().restore_unacked_once(stderr)
        else:
            self._on_collect.cancel()  # type: ignore[attr-defined]  # nor is there any at the end of the process

    def _is_connected(self) -> bool:
        transport = self.channel.connection
        return transport is not None and transport.client is not None


class RedisChannel(redis.Channel):
    QoS = RedisQoS


class RedisTransport(redis.Transport):
    Channel = RedisChannel


def _write_whole(file: Path, text: str) -> None:
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
