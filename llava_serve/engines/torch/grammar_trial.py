"""Trial of a grammar: a process that may fail compiles it first, for the library can crash.

A few bytes of schema can take all memory or hours to compile, and some end the process that tries:
what happens to the trial happens to no worker. It imports little else, so it starts at once.
"""

import logging
import os
import subprocess
import sys
import threading

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llava_serve.errors import EngineFailure
from llava_serve.limited_process import limit_process

logger = logging.getLogger(__name__)

# One step may take some 15 ms, and what a grammar's states take in memory is some 50 MB at most.
LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=25_000,
    max_grammar_size=100_000,
    verbose_errors=False,
)
_CPU_S = 3
_PATIENCE_S = 30.0  # where others keep the processors busy
_MOST_BYTES = 500_000_000  # of addresses, 100 MB of which are Python and the library
_STACK_BYTES = 4 * 1024 * 1024  # half of what a thread of the worker has
_GAVE_UP = 3  # exit status of a trial in which the library failed
_TOO_COMPLEX = (
    f"is too complex: compiling it takes more than {_CPU_S} s, or too much memory; use fewer "
    "patterns, alternatives or nested definitions"
)


def complaint_of(grammar: str) -> str:
    """Return what is wrong with a grammar in the library's words; nothing where it can be compiled.

    Raises:
        EngineFailure: it cannot be tried on this machine.
    """
    command = [sys.executable, "-m", __name__]
    try:
        trial = subprocess.run(
            command, input=grammar.encode(), capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _TOO_COMPLEX
    except OSError as exc:
        raise EngineFailure(f"no grammar can be compiled: {exc}") from exc
    if trial.returncode == _GAVE_UP or trial.returncode < 0:  # below zero: a signal ended it
        return _TOO_COMPLEX
    if trial.returncode != 0:
        logger.error("the trial of a grammar failed: %s", trial.stderr.decode(errors="replace"))
        raise EngineFailure("no grammar can be compiled here; the cause is in the worker's log")
    return trial.stdout.decode()


def _try(grammar: str) -> None:
    """Compile, and look for the first token: any bytes are tokens here."""
    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=LIMITS)
    if not matcher.is_error():
        mask = matcher.compute_bitmask()
        if any(mask) or not matcher.is_error():
            return
    sys.stdout.write(matcher.get_error())


def main() -> None:
    """Try the grammar that stands in the standard input."""
    limit_process(_MOST_BYTES, _CPU_S)
    threading.excepthook = lambda _: os._exit(_GAVE_UP)  # the library's panics, and no memory
    threading.stack_size(_STACK_BYTES)
    trial = threading.Thread(target=_try, args=[sys.stdin.read()])
    trial.start()
    trial.join()


if __name__ == "__main__":
    main()
