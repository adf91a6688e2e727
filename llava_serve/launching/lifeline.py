"""Runs one command of ours so that it never outlives the launcher, not even after `kill -9`.

The launcher holds the other end of this process's standard input and never writes to it. Only when
the launcher is gone, however it went, does the system close that end: then the command gets
SIGTERM, and after a grace period its whole process group is killed. No `PR_SET_PDEATHSIG`: that is
Linux only, and does not reach a child's own children.
"""

import os
import runpy
import signal
import sys
import threading
import time

_GRACE_S = 10.0


def main() -> None:
    """Run `python -m llava_serve.launching.lifeline MODULE FLAGS...`, as leader of its group."""
    threading.Thread(target=_end_with_the_launcher, daemon=True, name="lifeline").start()
    del sys.argv[0]  # what remains is the command's own command line
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_the_launcher() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns at the end of the file, and never before
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
