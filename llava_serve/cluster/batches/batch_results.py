"""Batch results: the two files that answers are appended to, which tell what is done.

A line is done once it is in one of them. What a process that was killed had half written is cut
off, and its line is asked again.
"""

import os
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import to_json

from llava_serve.cluster.batches.batch_store import BatchFolder, translated

RESULTS = ("output", "errors")  # what was answered; what failed, or was not asked
_NUMBER = re.compile(rb'\{"id":"batch_req_[0-9a-f]+_(\d+)"')
_TAIL_BYTES = 65_536


class BatchResults:
    """Every method blocks: call it off the event loop. Each may raise StorageFailed."""

    def __init__(self, folder: BatchFolder, batch_id: str) -> None:
        """Read what is done, and open the files to go on with them."""
        self._prefix = f"batch_req_{batch_id.removeprefix('batch_')}_"
        self._done = bytearray()  # a byte for each line of the input
        self.counts: Counter[str] = Counter()
        self._files: dict[str, BinaryIO] = {}
        self._writing = threading.Lock()
        for name in RESULTS:
            with translated():
                path = folder.results(name)
                path.touch(mode=0o600)
                _cut_off(path)
                self._read(name, path)
                self._files[name] = path.open("ab", buffering=0)

    def close(self) -> None:
        """Write nothing any more: what comes later is as if it had not been answered."""
        with self._writing:
            for file in self._files.values():
                file.close()

    def has(self, number: int) -> bool:
        """Tell whether a line of the input is done."""
        return number < len(self._done) and bool(self._done[number])

    def add(self, number: int, custom_id: str, response: Any, error: Any) -> None:
        """Write down how a line ended."""
        name = "errors" if error is not None or response["status_code"] >= 400 else "output"
        line: dict[str, Any] = {"id": f"{self._prefix}{number}", "custom_id": custom_id}
        data = memoryview(to_json({**line, "response": response, "error": error}) + b"\n")
        file = self._files[name]
        with self._writing, translated():
            if file.closed:
                return
            before = os.fstat(file.fileno()).st_size
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                os.ftruncate(
                    file.fileno(), before
                )  # or the next one would stand behind half a line
                raise
            self._mark(name, number)

    def _read(self, name: str, path: Path) -> None:
        with path.open("rb") as lines:
            for line in lines:
                if found := _NUMBER.match(line):
                    self._mark(name, int(found[1]))

    def _mark(self, name: str, number: int) -> None:
        missing = number + 1 - len(self._done)
        self._done.extend(bytes(max(missing, 0)))
        self._done[number] = True
        self.counts[name] += 1


def _cut_off(path: Path) -> None:
    """Cut off what stands behind the last whole line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(end - _TAIL_BYTES, 0)
            file.seek(start)
            if (at := file.read(end - start).rfind(b"\n")) >= 0:
                file.truncate(start + at + 1)
                return
            end = start
        file.truncate(0)
