"""Whether the ports of a plan are free, asked before anything is started."""

import errno
from collections.abc import Sequence

from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.launching.plan import Port


def check_ports(ports: Sequence[Port]) -> None:
    """Try each port once, without keeping it.

    Raises:
        CommandError: a port is used by another program, wanted twice, or not to be had.
    """
    wanted: dict[int, Port] = {}
    for port in ports:
        other = wanted.setdefault(port.number, port)
        if other is not port:
            raise CommandError(
                f"port {port.number} is wanted by {other.wanted_by} and by {port.wanted_by}",
                f"Choose another with {other.flag} or {port.flag}.",
            )
        _try(port)


def _try(port: Port) -> None:
    if not 0 < port.number < 65536:
        raise CommandError(
            f"there is no port {port.number}, which {port.wanted_by} would listen on",
            f"Choose one from 1 to 65535 with {port.flag}.",
        )
    try:
        with serving.bind(port.host, port.number):
            return
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port.number}, which {port.wanted_by} needs, is in use",
                f"Stop the program that uses it, or choose another port with {port.flag}.",
            ) from exc
        raise CommandError(
            f"{port.wanted_by} cannot listen on {port.host}:{port.number}: {exc.strerror or exc}",
            f"Choose another address with --host, or another port with {port.flag}.",
        ) from exc
