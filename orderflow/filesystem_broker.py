"""The broker of the embedded default: kombu's `filesystem://`, made safe for several processes. It knows no context.

As kombu ships it, a message file can be read while it is being written, and one empty file ends the worker; the table of
queues is emptied before it is locked. Here every file appears whole, by renaming a finished temporary file.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # two stubs contradict
        _write_whole(Path(self.data_folder_out) / f"{time_ns()}_{uuid.uuid4()}.{queue}.msg", dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        file = Path(self.control_folder) / f"{exchange}.exchange"
        with _locked(file.with_suffix(".lock")):
            table = self.get_table(exchange)
            if binding not in table:
                _write_whole(file, dumps([binding, *table]))


class Transport(filesystem.Transport):
    Channel = Channel


def _write_whole(file: Path, text: str) -> None:
    unfinished = file.with_name(f".{uuid.uuid4()}.unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
