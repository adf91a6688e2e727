"""Limits of a process that does what may crash, or take all there is, in place of a server."""

import os
import resource
from contextlib import suppress

_NICENESS = 10  # the server, which answers others, comes first


def limit_process(memory_bytes: int, cpu_s: int) -> None:
    """Limit this process, also where nobody is left who would end it."""
    with suppress(OSError):  # a sandbox may refuse it
        os.nice(_NICENESS)
    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, limit in limits:
        with suppress(ValueError, OSError):  # beyond a harder limit, or not on this system
            resource.setrlimit(kind, (limit, limit))
