"""Log lines show what a request brought, and obey none of it."""

import subprocess
import sys

PROGRAM = """
import logging
from llava_serve import logs
logs.configure("info")
logging.getLogger("app").info("GET /x%s", chr(27) + "[31m" + chr(0) + "end")
"""

LOGGED = """
import logging, sys
from llava_serve import logs
logs.configure("info")
for text in sys.argv[1:]:
    logging.getLogger("app").info("GET /%s", text)
"""


def test_control_characters_are_shown_and_not_obeyed() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert rb"GET /x\x1b[31m\x00end" in run.stderr
    assert b"\x1b" not in run.stderr


def test_a_line_break_begins_no_line_of_the_log_and_a_long_text_is_cut() -> None:
    command = [sys.executable, "-c", LOGGED, "a\n12:00:00 I forged", "b" * 100_000]
    run = subprocess.run(command, capture_output=True, check=True)
    first, second, third = run.stderr.decode().splitlines()
    assert first.endswith("GET /a") and second == "    12:00:00 I forged"
    assert len(third) < 5000 and third.endswith("characters more")
