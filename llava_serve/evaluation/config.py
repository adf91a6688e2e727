"""Settings of `evaluate`: the task, the model that is asked, and where the run is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from llava_serve import args
from llava_serve.evaluation.manifest import Detail, Images
from llava_serve.evaluation.tasks.registry import TASKS
from llava_serve.server_config import ServerConfig

IMAGES: tuple[Images, ...] = get_args(Images)
LMMS = "lmms:"  # stands before the name of a task of lmms-eval


@dataclass(frozen=True, kw_only=True)
class RunConfig(ServerConfig):
    """Ask a task's questions, grade the answers, and report; the same command goes on after a stop.

    Answers lie in --out. Exit code: 0 done; 1 some questions failed; 2 a flag, a file or the server
    is wrong. Beside it: `evaluate compare A B` compares two runs, and `evaluate review` lets a
    judge score answers; --help of each says how.
    """

    task: Annotated[str, f"{', '.join(TASKS)}, or lmms:NAME for a task of lmms-eval"]
    data: Annotated[Path | None, "the task's file or folder; lmms-eval has its own data"] = None
    include_path: Annotated[Path | None, "folder with YAML files of further lmms-eval tasks"] = None
    model: Annotated[str | None, "model to ask; default: the only one that is served"] = None
    out: Annotated[
        Path | None,
        "folder of the run; default: .runs/evaluate/TASK-MODEL, with the name of a file as --data",
    ] = None
    limit: Annotated[int | None, "ask only so many of the first questions"] = None
    images: Annotated[
        tuple[str, ...],
        "controls beside the original images: swapped (each replaced by another of the task), gray",
    ] = ("original",)
    detail: Annotated[
        Detail | None,
        "detail of each image; low asks for one tile where a model cuts it into several",
    ] = None
    concurrency: Annotated[
        int | None,
        "questions asked at once; default: one and a half times the slots of the model, or 8 where "
        "the server does not tell them",
    ] = None
    no_logprobs: Annotated[bool, "do not ask for log-probabilities"] = False
    retry_failed: Annotated[bool, "ask again what failed in an earlier run"] = False
    attempts: Annotated[int, "times a question is asked that the server fails at"] = 5
    patience: Annotated[
        float, "seconds without any answer, of a server that is away or refuses, before the end"
    ] = 300.0
    open: Annotated[bool, "open the report in a browser"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task.startswith(LMMS) == (self.data is not None):
            raise ValueError(f"--data belongs to every --task but {LMMS}NAME")
        if self.include_path is not None and not self.task.startswith(LMMS):
            raise ValueError(f"--include-path belongs to --task {LMMS}NAME")
        args.require_positive(self, "limit", "concurrency", "attempts", "patience")
        if wrong := [name for name in self.images if name not in IMAGES]:
            raise ValueError(f"--images takes {', '.join(IMAGES)}, and not {wrong[0]!r}")

    @property
    def shown(self) -> tuple[Images, ...]:
        """The ways to show images, the original first: controls mean nothing without it."""
        return tuple(name for name in IMAGES if name == "original" or name in self.images)
