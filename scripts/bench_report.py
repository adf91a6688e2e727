"""What a benchmark says: a table on the screen, and a JSON file that names the machine."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

_FOLDER = Path(".runs")


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once a round; `goal` says what it is to reach."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: str = ""

    def __str__(self) -> str:
        """The median and, where there is one, the spread."""
        shown = f"{statistics.median(self.rounds):.3g}"
        if len(self.rounds) > 1:
            shown += f" ({min(self.rounds):.3g} to {max(self.rounds):.3g})"
        return shown


def report(name: str, figures: Sequence[Figure], **facts: Any) -> None:
    """Print the figures as a table and write them to `.runs/bench_NAME.json`."""
    width = max(len(figure.name) for figure in figures)
    lines = [f"{'':<{width}}  {'median (least to most)':<26}  {'unit':<12}  goal"]
    lines += [
        f"{figure.name:<{width}}  {figure!s:<26}  {figure.unit:<12}  {figure.goal}".rstrip()
        for figure in figures
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    _FOLDER.mkdir(exist_ok=True)
    content = {"machine": machine(), **facts, "figures": [asdict(figure) for figure in figures]}
    (_FOLDER / f"bench_{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Name the processor, what it has, and the libraries that computed."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
