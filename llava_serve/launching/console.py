"""Console output of a launch: the processes' log lines, its own notes, the greeting when ready."""

import json
import mimetypes
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from llava_serve.launching.plan import Plan

_COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")


class LaunchConsole:
    """Writes everything to one console; a line of a process is never cut or wrapped."""

    def __init__(self, names: Sequence[str], console: Console) -> None:
        self._console = console
        self._width = max(map(len, (*names, "launch")))
        self._styles = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}

    def line(self, name: str, text: str) -> None:
        """Show one line that a process wrote."""
        self._write(name, self._styles[name], Text.from_ansi(text))

    def note(self, text: str) -> None:
        """Show what the launcher itself has to say."""
        self._write("launch", "bold", Text(text, style="bold"))

    def _write(self, name: str, style: str, text: Text) -> None:
        prefix = Text(f"{name:<{self._width}} | ", style=style)
        with self._console.capture() as rendered:
            self._console.print(prefix + text, soft_wrap=True, highlight=False)
        write_or_drop(self._console.file, rendered.get())


def write_or_drop(file: IO[str], text: str) -> None:
    """Write `text` if that is possible; no process ends because its log cannot be written.

    On a full disk what comes later is tried again. When the reader has left, all of it goes
    nowhere, Python's own flush at the exit included.
    """
    try:
        file.write(text)
        file.flush()
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), file.fileno())
    except OSError:
        pass


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """A question for the greeting's commands, and the image it is about if there is one."""

    text: str
    image: Path | None


def first_sample(folder: Path) -> SampleQuestion:
    """Return the first sample about one still image that `folder`/examples.json lists."""
    listing = folder / "examples.json"
    rows = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else []
    for row in rows:
        if len(row["files"]) == 1 and _mime(row["files"][0]).startswith("image/"):
            return SampleQuestion(row["question"], folder / row["files"][0])
    return SampleQuestion("What can you see in a picture?", None)


def greeting(
    plan: Plan, sample: SampleQuestion, ca_file: Path | None = None, key_file: Path | None = None
) -> str:
    """Return the lines to show; the commands work in the folder the launch was started in.

    `ca_file` has the authorities that they trust, and `key_file` the key that they show.
    """
    page = f"Open in a browser:  {plan.page.address}\n\n" if plan.page else ""
    return (
        f"{page}Ask with curl:\n\n  {_curl(plan, sample, ca_file, key_file)}\n\n"
        f"Chat in a terminal:\n\n  {_cli(plan, sample, ca_file, key_file)}\n"
    )


def _curl(plan: Plan, sample: SampleQuestion, ca_file: Path | None, key_file: Path | None) -> str:
    content: list[dict[str, Any]] = [{"type": "text", "text": sample.text}]
    encoded = ""
    if sample.image:
        url = f"data:{_mime(sample.image.name)};base64,\0"  # the zero byte: where it comes in
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        encoded = f"\"$(base64 < {shlex.quote(_short(sample.image))} | tr -d '\\n')\""
    message = {"role": "user", "content": content}
    request = {"model": plan.model, "temperature": 0, "messages": [message]}
    body = json.dumps(request)
    data = encoded.join(shlex.quote(part) for part in body.split("\\u0000"))
    url = f"{plan.controller.address}/v1/chat/completions"
    trust = f"--cacert {shlex.quote(_short(ca_file))} " if ca_file else ""
    shown = ""
    if key_file is not None:
        shown = f' -H "Authorization: Bearer $(cat {shlex.quote(_short(key_file))})"'
    return f"curl -sS {trust}{url}{shown} -H 'Content-Type: application/json' -d {data}"


def _cli(plan: Plan, sample: SampleQuestion, ca_file: Path | None, key_file: Path | None) -> str:
    words = [_short(Path(sys.executable)), "-m", "llava_serve.cli"]
    words += ["--controller", plan.controller.address, "--model-name", plan.model]
    words += ["--ca-file", _short(ca_file)] if ca_file else []
    words += ["--api-key-file", _short(key_file)] if key_file else []
    words += ["--image-file", _short(sample.image)] if sample.image else []
    return shlex.join(words)


def _mime(name: str) -> str:
    return mimetypes.guess_type(name)[0] or ""


def _short(path: Path) -> str:
    """Return the path relative to the working folder, when it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
