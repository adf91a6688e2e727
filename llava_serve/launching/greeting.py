"""What to do with a stack that is ready: the address to open and two commands to paste."""

import json
import mimetypes
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_serve.launching.plan import Plan


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and the picture it is about if there is one."""

    question: str
    picture: Path | None


def first_example(folder: Path) -> Example:
    """Return the first example of one still picture that `folder`/examples.json lists."""
    listing = folder / "examples.json"
    rows = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else []
    for row in rows:
        if len(row["files"]) == 1 and _mime(row["files"][0]).startswith("image/"):
            return Example(row["question"], folder / row["files"][0])
    return Example("What can you see in a picture?", None)


def greeting(plan: Plan, example: Example) -> str:
    """Return the lines to show; the commands work in the folder the launch was started in."""
    page = f"Open in a browser:  {plan.page.address}\n\n" if plan.page else ""
    return (
        f"{page}Ask with curl:\n\n  {_curl(plan, example)}\n\n"
        f"Chat in a terminal:\n\n  {_cli(plan, example)}\n"
    )


def _curl(plan: Plan, example: Example) -> str:
    content: list[dict[str, Any]] = [{"type": "text", "text": example.question}]
    encoded = ""
    if example.picture:
        url = f"data:{_mime(example.picture.name)};base64,\0"  # the zero byte: where it comes in
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        encoded = f"\"$(base64 < {shlex.quote(_short(example.picture))} | tr -d '\\n')\""
    message = {"role": "user", "content": content}
    asked = {"model": plan.workers[0].model, "temperature": 0, "messages": [message]}
    body = json.dumps(asked)
    data = encoded.join(shlex.quote(part) for part in body.split("\\u0000"))
    url = f"{plan.controller.address}/v1/chat/completions"
    return f"curl -s {url} -H 'Content-Type: application/json' -d {data}"


def _cli(plan: Plan, example: Example) -> str:
    words = [_short(Path(sys.executable)), "-m", "llava_serve.cli"]
    words += ["--controller", plan.controller.address, "--model-name", str(plan.workers[0].model)]
    words += ["--image-file", _short(example.picture)] if example.picture else []
    return shlex.join(words)


def _mime(name: str) -> str:
    return mimetypes.guess_type(name)[0] or ""


def _short(path: Path) -> str:
    """The path as seen from here, when it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
