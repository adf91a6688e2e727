"""Loading of lmms-eval's tasks, where lmms-eval is installed."""

import difflib
import logging
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llava_serve.errors import CommandError
from llava_serve.evaluation.lmms_eval.replay import leaves
from llava_serve.evaluation.lmms_eval.task import LmmsTask

logger = logging.getLogger(__name__)

# Those of lmms-eval's command line: a task may shuffle its documents when it is loaded.
# Source: EvolvingLMMs-Lab/lmms-eval@75571cfe lmms_eval/__main__.py::parse_eval_args
_SEEDS = {"random": 0, "numpy": 1234, "torch": 1234}


def load_task(name: str, include_path: Path | None = None) -> LmmsTask:
    """Return the task or group `name` of lmms-eval, or of the YAML files below a folder.

    Its data set is loaded as lmms-eval does it, from this machine or from the hub.

    Raises:
        CommandError: lmms-eval is not installed, knows no such task, or cannot load it, or the
            task cannot be asked of a server.
    """
    if find_spec("lmms_eval") is None:
        raise CommandError(
            "--task lmms:... needs lmms-eval, which is not installed",
            'Install it: python -m pip install -e ".[lmms-eval]"',
        )
    if include_path is not None and not include_path.is_dir():
        raise CommandError(f"{include_path} is no folder", "Correct --include-path.")
    _log_as_we_do()
    return LmmsTask(name, _loaded(name, _index_with(name, include_path)))


def _index_with(name: str, include_path: Path | None) -> Any:
    """Return lmms-eval's index of tasks; its own thousand are read only where they are needed."""
    from lmms_eval.tasks import TaskManager

    if include_path is not None:
        own = TaskManager("ERROR", str(include_path), include_defaults=False)
        if name in own.all_subtasks:
            return own
    every = TaskManager("ERROR", None if include_path is None else str(include_path))
    if name not in every.all_tasks:
        near = difflib.get_close_matches(name, every.all_tasks, 3)
        known = f"; near to it are {', '.join(near)}" if near else ""
        raise CommandError(
            f"lmms-eval has no task {name!r}{known}",
            "See `python -m lmms_eval tasks list`, or name the folder of your task with "
            "--include-path.",
        )
    return every


def _loaded(name: str, index: Any) -> dict[Any, Any]:
    import numpy
    import torch
    from lmms_eval.tasks import get_task_dict

    random.seed(_SEEDS["random"])
    numpy.random.seed(_SEEDS["numpy"])
    torch.manual_seed(_SEEDS["torch"])
    try:
        tree: dict[Any, Any] = get_task_dict([name], index, "chat")
        for task in leaves(tree):
            _require_generation(task)
            task.build_all_requests()
    except CommandError:
        raise
    except Exception as exc:  # a task runs code of its own, and data sets fail in many ways
        cause = _cause(exc)
        raise CommandError(
            f"lmms-eval cannot load the task {name!r}: {type(cause).__name__}: {cause}",
            "Correct the task, or see that its data set is on this machine or can be fetched.",
        ) from exc
    return tree


def _require_generation(task: Any) -> None:
    if task.OUTPUT_TYPE != "generate_until":
        raise CommandError(
            f"the lmms-eval task {task.task_name!r} is of output_type {task.OUTPUT_TYPE}, which a "
            "server of chat completions cannot answer",
            "Choose a task whose output_type is generate_until.",
        )


def _cause(exc: BaseException) -> BaseException:
    """Return what an attempt failed with that was made several times."""
    last = getattr(exc, "last_attempt", None)
    return (last.exception() if last is not None else None) or exc


def _log_as_we_do() -> None:
    from lmms_eval.utils import eval_logger

    eval_logger.remove()
    eval_logger.add(
        lambda line: logger.warning("%s", line.strip()), level="WARNING", format="{message}"
    )
