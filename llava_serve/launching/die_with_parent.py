"""Parent-death watch: runs one command of ours so that it ends with the launcher, even killed.

The launcher holds the other end of this process's standard input and never writes to it. The
system closes that end when the launcher is gone, however it went: then the command gets SIGTERM,
and after a grace period its process group is killed. No `PR_SET_PDEATHSIG`: that is Linux only,
and does not reach a child's own children.
"""

import os
import runpy
import signal
import sys
import threading
import time

_GRACE_S = 10.0


def main() -> None:
    """Run `... llava_serve.launching.die_with_parent MODULE FLAGS...`, as leader of its group."""
    threading.Thread(target=_die_with_parent, daemon=True, name="die-with-parent").start()
    del sys.argv[0]  # what remains is the command's own command line
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _die_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns at the end of the file, and never before
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
