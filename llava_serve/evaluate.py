"""The command `python -m llava_serve.evaluate`: a task's questions to a model, and a report.

With `compare A B`, two runs of one task are compared question by question; with `review`, a judge
scores the answers of two models.

Exit codes: 0 done; 1 some questions failed; 2 a flag or a file is wrong, or the server cannot be
asked; 130 it was interrupted, and the same command goes on.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llava_serve import logs
from llava_serve.args import parse
from llava_serve.errors import ServeError
from llava_serve.evaluation.config import RunConfig
from llava_serve.evaluation.report.compare import compare
from llava_serve.evaluation.report.compare_config import CompareConfig
from llava_serve.evaluation.review.command import review
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.evaluation.run import run
from llava_serve.evaluation.tasks.registry import open_task
from llava_serve.terminal.text import visible

_PROGRAM = "python -m llava_serve.evaluate"
_COMPARE = f"{_PROGRAM} compare A B"


def main(argv: Sequence[str] | None = None) -> int:
    logs.replace_unprintable()
    try:
        match list(sys.argv[1:] if argv is None else argv):
            case ["review", *flags]:
                reviewed = parse(ReviewConfig, flags, program=f"{_PROGRAM} review")
                logs.configure(reviewed.log_level)
                return review(reviewed)
            case ["compare", "-h" | "--help"]:
                parse(CompareConfig, ["--help"], program=_COMPARE)
            case ["compare", a, b, *flags] if not a.startswith("-") and not b.startswith("-"):
                compared = parse(CompareConfig, flags, program=_COMPARE)
                return compare(Path(a), Path(b), compared, open_task)
            case ["compare", *_]:
                sys.stderr.write(f"usage: {_COMPARE} [--out FOLDER] [--open]\n")
            case flags:
                config = parse(RunConfig, flags, program=_PROGRAM)
                logs.configure(config.log_level)
                return asyncio.run(run(config))
    except ServeError as exc:
        sys.stderr.write(visible(f"{exc.with_remedy}\n"))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one ends\n")
        return 130
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):  # else who reads the result has left
            what = exc.filename or "the result to standard output"
            sys.stderr.write(visible(f"cannot read or write {what}: {exc.strerror or exc}\n"))
        # Python must not flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 2


if __name__ == "__main__":
    sys.exit(main())
