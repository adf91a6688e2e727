"""Free ports for a test's own processes, which no other test takes before they do.

They lie below those that the system hands out itself, each process of pytest begins elsewhere, and
gives none out twice.
"""

import itertools
import os
import socket

FIRST, COUNT = 22_000, 10_000

_turns = itertools.count(os.getpid() * 211)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of `count` free ports in a row."""
    for _ in range(COUNT):
        row = [FIRST + next(_turns) % COUNT for _ in range(count)]
        if row[-1] - row[0] == count - 1 and all(map(_is_free, row)):
            return row[0]
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
