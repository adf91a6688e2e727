"""Example questions that ship, and how an empty conversation invites to begin."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.chat_state import Kind
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

_TEXTS: dict[Kind, tuple[str, str]] = {
    "chat": ("chat.begin", "chat.how_to_begin"),
    "compare": ("compare.begin", "compare.how_to_begin"),
    "arena": ("arena.tab", "arena.invitation"),
}


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


def invitation(kind: Kind, examples: Sequence[ExampleQuestion]) -> str:
    """Render what an empty conversation shows: how to begin, and the examples to click."""
    title, told = _TEXTS[kind]
    cards = "".join(
        f'<button type="button" class="example" data-index="{index}">{_images(example)}'
        f"<span>{plain_text(example.question)}</span></button>"
        for index, example in enumerate(examples)
    )
    cards = f'<div class="examples">{cards}</div>' if cards else ""
    folder = translate("folder.open")
    folder = f'<button type="button" class="folder-open">{folder}</button>'
    return (
        f'<div class="empty"><h2>{translate(title)}</h2><p>{translate(told)}</p>'
        f"{folder if kind == 'compare' else ''}{cards}</div>"
    )


def _images(example: ExampleQuestion) -> str:
    shown = [
        f'<video src="media/{file.filename}" muted preload="metadata"></video>'
        if file.filetype.needs_player
        else f'<img src="media/{file.filename}" alt="">'
        for file in example.files
    ]
    return f'<span class="images">{"".join(shown)}</span>'
