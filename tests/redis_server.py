"""A real `redis-server` for tests, on a Unix socket, that can be stopped, killed and started."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 30.0


class RedisServer:
    """One server without persistence: what was killed starts empty. `flags` are its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._flags = ("--dir", str(folder), *flags)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed: bash scripts/get_services.sh"
        self.socket.unlink(missing_ok=True)
        basic = ("--port", "0", "--unixsocket", str(self.socket), "--save", "")
        self._process = subprocess.Popen(
            [program, *basic, *self._flags], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and wait for the end of a process that it ends."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    def end(self) -> None:
        """Kill it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGKILL)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in (b"+", b"-")  # an error too: it wants a password
            except OSError:
                return False


@contextmanager
def running_redis(*flags: str) -> Iterator[RedisServer]:
    """Run a server in a folder of its own, whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), *flags)
        try:
            server.start()
            yield server
        finally:
            server.end()
