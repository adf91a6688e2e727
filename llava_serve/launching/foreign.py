"""Runs a program that is not ours, and maybe not Python, so that it too ends with the launcher.

Runs under `lifeline`: the program is a child in the same process group, gets the SIGTERM that this
process gets, and is killed with the group at the latest.
"""

import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    """Run `... llava_serve.launching.foreign PROGRAM ARGUMENTS...` and exit as it does."""
    early: list[int] = []  # the program may run, and be told to end, before its handle is here
    signal.signal(signal.SIGTERM, lambda number, _: early.append(number))
    # Standard input is the lifeline's; a program that reads it would take the launcher's end.
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def pass_on(number: int, _: FrameType | None) -> None:
        program.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    for number in early:
        program.send_signal(number)
    code = program.wait()
    sys.exit(code if code >= 0 else 128 - code)  # as a shell tells the signal that killed it


if __name__ == "__main__":
    main()
