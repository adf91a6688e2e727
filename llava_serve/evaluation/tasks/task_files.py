"""Files of a task's data: where they may lie, and what is said of one that is missing."""

from dataclasses import dataclass
from pathlib import Path

from llava_serve.errors import CommandError

EVAL_ZIP = (
    "eval.zip of LLaVA v1.5 (https://drive.google.com/file/d/1atZSBBrAX54yYpxtVVW33zFvcnaHeFPy), "
    "see https://github.com/haotian-liu/LLaVA/blob/main/docs/Evaluation.md"
)
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class NeededFile:
    """One of `names`, the likeliest first, is needed; `is_what` and `comes_from` go into errors."""

    names: tuple[str, ...]
    is_what: str
    comes_from: str

    def in_folder(self, folder: Path) -> Path:
        """Return the first that is there.

        Raises:
            CommandError: none is; names the likeliest, what it is and where it comes from.
        """
        if (found := first_present(folder, *self.names)) is not None:
            return found
        others = f" (nor {' or '.join(self.names[1:_MOST_NAMED])})" if self.names[1:] else ""
        raise CommandError(
            f"{folder / self.names[0]} is not there{others}: it holds {self.is_what}",
            f"Get it from {self.comes_from}, and put it there.",
        )


def first_present(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def folder_and_questions(data: Path, needed: NeededFile) -> tuple[Path, Path]:
    """Return a task's folder and its question file; `data` may be either of them.

    Raises:
        CommandError: `data` is not there, or is a folder without a question file.
    """
    if data.is_file():
        return data.parent, data
    if not data.is_dir():
        raise CommandError(
            f"{data} is not there", "Name the folder that holds the task's files, or its questions."
        )
    return data, needed.in_folder(data)


def unreadable(path: Path, exc: OSError) -> CommandError:
    """Return the error of a file of a task that cannot be read."""
    return CommandError(
        f"cannot read {path}: {exc.strerror or exc}",
        "Lay the task's files out as LLaVA's docs/Evaluation.md says, or correct --data.",
    )
