"""Example questions that ship, and how an empty conversation invites to begin."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate


@dataclass(frozen=True)
class ExampleQuestion:
    """A question with its files, to be clicked."""

    question: str
    files: tuple[StoredFile, ...]


def load(folder: Path, media: MediaStore) -> tuple[ExampleQuestion, ...]:
    """Read `folder/examples.json`; without that file there are no examples. It blocks."""
    listing = folder / "examples.json"
    if not listing.exists():
        return ()
    return tuple(
        ExampleQuestion(row["question"], tuple(media.put(folder / name) for name in row["files"]))
        for row in json.loads(listing.read_text(encoding="utf-8"))
    )


def empty_comparison() -> str:
    """Render what an empty comparison shows."""
    return (
        f'<div class="empty"><h2>{translate("compare.begin")}</h2>'
        f"<p>{translate('compare.how_to_begin')}</p>"
        f'<button type="button" class="folder-open">{translate("folder.open")}</button></div>'
    )


def empty_chat(examples: Sequence[ExampleQuestion]) -> str:
    """Render what an empty conversation shows: how to begin, and the examples to click."""
    cards = "".join(
        f'<button type="button" class="example" data-index="{index}">{_images(example)}'
        f"<span>{plain_text(example.question)}</span></button>"
        for index, example in enumerate(examples)
    )
    cards = f'<div class="examples">{cards}</div>' if cards else ""
    return (
        f'<div class="empty"><h2>{translate("chat.begin")}</h2>'
        f"<p>{translate('chat.how_to_begin')}</p>{cards}</div>"
    )


def _images(example: ExampleQuestion) -> str:
    shown = [
        f'<video src="media/{file.filename}" muted preload="metadata"></video>'
        if file.filetype.needs_player
        else f'<img src="media/{file.filename}" alt="">'
        for file in example.files
    ]
    return f'<span class="images">{"".join(shown)}</span>'
