"""Measure what precision, engine and tiling do to a checkpoint's answers, for the README's tables.

Each way to serve it is started by itself and asked the same exam by `llava_serve.evaluate`; what
`evaluate compare` finds between the first way and each other is printed as a Markdown table and
written to .runs/evaluation_tables.json. A run that was stopped goes on where it was.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_serve.tiny import CHECKPOINT
from scripts.bench_report import machine
from scripts.bench_systems import free_port, our_worker, started
from scripts.tiny.exam import draw_exam
from scripts.tiny.exam_files import QUESTIONS, write_exam
from scripts.tiny.questions import ASKERS

_RUNS = Path(".runs") / "evaluation_tables"
_SGLANG = Path(".venv-sglang/bin/python")
_START_S = 480.0

Serve = Callable[[Path], AbstractContextManager[str]]  # from a checkpoint to the server's address


@dataclass(frozen=True, slots=True)
class Way:
    """A way to serve and to ask a checkpoint; `flags` go to `evaluate`."""

    name: str
    serve: Serve
    flags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return _RUNS / self.name.replace(" ", "-")


def worker(dtype: str, *flags: str) -> Serve:
    """Return how a worker of one precision is served."""

    @contextmanager
    def serve(checkpoint: Path) -> Iterator[str]:
        with our_worker(checkpoint, dtype, *flags) as (served, _):
            yield served.address

    return serve


@contextmanager
def sglang(checkpoint: Path) -> Iterator[str]:
    """Serve a checkpoint by SGLang behind a worker and a controller of ours."""
    ports = {name: free_port() for name in ("controller", "worker", "sglang")}
    command = [sys.executable, "-m", "llava_serve.launch", "--no-web", "--log-level", "warning"]
    command += ["--sglang", f"{checkpoint}=bench", "--sglang-python", str(_SGLANG)]
    for name, port in ports.items():
        command += [f"--{name}-port", str(port)]
    address = f"http://127.0.0.1:{ports['controller']}"
    with started([*command, "--state-dir", str(_RUNS / "state")], ports["controller"]):
        _wait_for_model(address)
        yield address


def _wait_for_model(address: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{address}/v1/models") as answer:
            if json.load(answer)["data"]:
                return
        time.sleep(1)
    raise SystemExit(f"{address} serves no model after {_START_S:.0f} seconds")


WAYS = (
    Way("float32", worker("float32")),
    Way("bfloat16", worker("bfloat16")),
    Way("8 bits", worker("float32", "--load-8bit")),
    Way("4 bits", worker("float32", "--load-4bit")),
    Way("one tile", worker("float32"), ("--detail", "low")),
    Way("SGLang", sglang),
)


def evaluate(*words: str) -> None:
    """Run the command; questions that failed stand in its report."""
    command = [sys.executable, "-m", "llava_serve.evaluate", *words]
    if subprocess.run(command, check=False).returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} did not come to its end")


def measure(way: Way, checkpoint: Path, questions: Path) -> None:
    with way.serve(checkpoint) as address:
        words = ["--task", "jsonl", "--data", str(questions), "--controller", address]
        evaluate(*words, "--model", "bench", "--out", str(way.folder), *way.flags)


def row(first: Way, way: Way) -> dict[str, Any]:
    """Return the figures of a way, and how it differs from the first."""
    report = json.loads((way.folder / "report.json").read_text())
    facts: dict[str, Any] = {
        "name": way.name,
        "n": report["total"]["n"],
        "failed": report["failed"],
        "right": report["total"]["mean_credit"],
        "interval": report["total"]["interval"],
        "p50_s": report["total_time"]["p50_s"],
    }
    if way is not first:
        evaluate("compare", str(first.folder), str(way.folder))
        found = json.loads((way.folder / "compare.json").read_text())
        facts["paired"] = found["total"]["paired"]
        facts["same_text"] = found["same_text"] / found["both_answered"]
    return facts


def table(rows: list[dict[str, Any]]) -> str:
    """Format the figures as a Markdown table."""
    lines = [
        "| served as | right | 95 % interval | difference | McNemar's p | same text | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for facts in rows:
        low, high = facts["interval"]
        cells = [facts["name"], f"{facts['right']:.1%}", f"{low:.1%} to {high:.1%}"]
        if paired := facts.get("paired"):
            cells += [f"{100 * paired['difference']:+.1f}", f"{paired['p_value']:.2g}"]
            cells.append(f"{facts['same_text']:.1%}")
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join([*cells, str(facts['failed'])])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--questions", type=int, default=600, help="about one picture each")
    parser.add_argument("--seed", type=int, default=3, help="of the exam")
    asked = parser.parse_args()
    exam = _RUNS / f"exam-{asked.questions}-{asked.seed}"
    if not (exam / QUESTIONS).exists():
        write_exam(draw_exam(asked.questions, asked.seed, tuple(ASKERS)), exam)
    rows = []
    for way in WAYS:
        if way.serve is sglang and not _SGLANG.exists():
            sys.stdout.write("SGLang is left out: `make sglang-env` installs it\n")
            continue
        measure(way, asked.checkpoint, exam / QUESTIONS)
        rows.append(row(WAYS[0], way))
    content = {"machine": machine(), "rows": rows}
    _RUNS.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
