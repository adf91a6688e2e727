"""Tasks by the name that `--task` calls them."""

from collections.abc import Callable
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.evaluation.task import Task
from llava_serve.evaluation.tasks.chat_lines import ChatLines

TASKS: dict[str, Callable[[Path], Task]] = {
    "jsonl": ChatLines,
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
