"""Child process of a program that is not a module of ours, such as an SGLang server.

Runs under `die_with_parent`: the program is in the same process group, gets the SIGTERM that this
process gets, and is killed with the group at the latest.
"""

import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    """Run `... llava_serve.launching.exec_child PROGRAM ARGUMENTS...` and exit with its code."""
    early: list[int] = []  # a SIGTERM may come before `program` is assigned
    signal.signal(signal.SIGTERM, lambda number, _: early.append(number))
    # `die_with_parent` waits on standard input; a program that reads it would take its end.
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def pass_on(number: int, _: FrameType | None) -> None:
        program.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    for number in early:
        program.send_signal(number)
    code = program.wait()
    sys.exit(code if code >= 0 else 128 - code)  # a shell's code for a signal


if __name__ == "__main__":
    main()
