"""Log lines show what a request brought, and obey none of it."""

import subprocess
import sys

PROGRAM = """
import logging
from llava_serve import logs
logs.configure("info")
logging.getLogger("app").info("GET /x%s", chr(27) + "[31m" + chr(0) + "end")
"""


def test_control_characters_are_shown_and_not_obeyed() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert rb"GET /x\x1b[31m\x00end" in run.stderr
    assert b"\x1b" not in run.stderr
