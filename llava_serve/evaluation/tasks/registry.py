"""Tasks by the name that `--task` calls them."""

from collections.abc import Callable
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.evaluation.task import Task
from llava_serve.evaluation.tasks.chat_lines import ChatLines
from llava_serve.evaluation.tasks.gqa import Gqa
from llava_serve.evaluation.tasks.llava_bench import LlavaBench
from llava_serve.evaluation.tasks.mmbench import MMBench, MMBenchCN
from llava_serve.evaluation.tasks.mme import Mme
from llava_serve.evaluation.tasks.mmvet import MMVet
from llava_serve.evaluation.tasks.pope import Pope
from llava_serve.evaluation.tasks.scienceqa import ScienceQA
from llava_serve.evaluation.tasks.seed import SeedBench
from llava_serve.evaluation.tasks.textvqa import TextVqa
from llava_serve.evaluation.tasks.tsv import Tsv
from llava_serve.evaluation.tasks.vizwiz import VizWiz
from llava_serve.evaluation.tasks.vqav2 import VqaV2

TASKS: dict[str, Callable[[Path], Task]] = {
    "gqa": Gqa,
    "jsonl": ChatLines,
    "llava_bench": LlavaBench,
    "mmbench": MMBench,
    "mmbench_cn": MMBenchCN,
    "mme": Mme,
    "mmvet": MMVet,
    "pope": Pope,
    "scienceqa": ScienceQA,
    "seed": SeedBench,
    "textvqa": TextVqa,
    "tsv": Tsv,
    "vizwiz": VizWiz,
    "vqav2": VqaV2,
}


def open_task(name: str, data: Path) -> Task:
    """Return the task of a name, over the data at a path.

    Raises:
        CommandError: there is no such task, or no data; what the data holds is read later.
    """
    if (task := TASKS.get(name)) is None:
        known = ", ".join(sorted(TASKS))
        raise CommandError(f"there is no task {name!r}; known: {known}", "Correct --task.")
    if not data.exists():
        raise CommandError(f"{data} is not there", "Name the task's file or folder with --data.")
    return task(data)
