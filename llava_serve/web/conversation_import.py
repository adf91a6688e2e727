"""Import of a conversation that was exported as JSON: checked, and kept as a new one."""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llava_serve.errors import ImportRefused, MediaTooLarge, MediaUnreadable
from llava_serve.storage.identity import Identity
from llava_serve.storage.listing import ConversationList
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.store import Store
from llava_serve.storage.tables import TurnMediaRow, TurnRow
from llava_serve.web.conversation_file import ConversationData, ExchangeData, FileData


def read(body: bytes) -> ConversationData:
    """Check what a file says before anything of it is kept. It blocks.

    Raises:
        ImportRefused: it is no conversation.
    """
    try:
        return ConversationData.model_validate_json(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = "it is no JSON" if first["type"] == "json_invalid" else first["msg"]
        raise ImportRefused(f"{place}: {reason}" if place else reason) from exc


def keep(
    data: ConversationData, store: Store, media: MediaStore, whose: Identity, limit_bytes: int
) -> str:
    """Keep it as a conversation of theirs; return its id. It blocks.

    `limit_bytes` is what a request of the page may have.

    Raises:
        ImportRefused: a file in it is no image or video, or they are too large.
        StorageFailed: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        spare = Path(folder) / "file"
        brought: dict[str, StoredFile] = {}
        files = [
            [_file(file, media, spare, brought) for file in exchange.files]
            for exchange in data.exchanges
        ]
    _check_sizes(data, files, limit_bytes)
    parameters = data.parameters.model_dump(exclude_none=True)
    questions: list[TurnRow] = []
    turns = []
    for exchange, its_files in zip(data.exchanges, files, strict=True):
        before = questions[exchange.follows] if exchange.follows not in (None, -1) else None
        question = _question(exchange, its_files, before)
        questions.append(question)
        turns += [question, *_answers(exchange, question, parameters)]
    conversation_id = secrets.token_hex(16)
    store.add_turns(conversation_id, data.kind, turns, whose)
    if data.title:
        ConversationList(store).rename(whose, conversation_id, data.title)
    return conversation_id


def _check_sizes(
    data: ConversationData, files: Sequence[Sequence[StoredFile]], limit_bytes: int
) -> None:
    """Refuse a branch that could not have been asked: a file counts each time that it is sent."""
    sizes: list[int] = []
    for exchange, its_files in zip(data.exchanges, files, strict=True):
        before = sizes[exchange.follows] if exchange.follows not in (None, -1) else 0
        sizes.append(before + sum(file.size_bytes for file in its_files))
    if max(sizes) * 4 / 3 > limit_bytes:
        raise ImportRefused(
            f"its files take more than the {limit_bytes:,} bytes that one request may have"
        )


def _file(
    file: FileData, media: MediaStore, spare: Path, brought: dict[str, StoredFile]
) -> StoredFile:
    if file.url.startswith("#"):
        if (known := brought.get(file.url[1:])) is None:
            raise ImportRefused(f"the bytes of {file.name!r} are not in the file")
        return replace(known, name=file.name)
    spare.write_bytes(file.data())
    try:
        kept = media.put(spare, file.name)
    except (MediaUnreadable, MediaTooLarge) as exc:
        raise ImportRefused(exc.message) from exc
    brought[kept.sha256] = kept
    return kept


def _question(
    exchange: ExchangeData, files: Sequence[StoredFile], before: TurnRow | None
) -> TurnRow:
    media = [TurnMediaRow.of(file) for file in files]
    number = 0 if before is None else before.exchange + 1
    return TurnRow(
        exchange=number,
        role="user",
        text=exchange.question,
        media=media,
        replaced=not exchange.shown,
        parent=before,
    )


def _answers(
    exchange: ExchangeData, question: TurnRow, parameters: dict[str, Any]
) -> Iterator[TurnRow]:
    for slot, answer in enumerate(exchange.answers):
        facts = answer.model_dump(exclude={"model", "text"}, exclude_none=True)
        turn = TurnRow(exchange=question.exchange, slot=slot, role="assistant", parent=question)
        turn.details = facts | {"parameters": parameters}
        turn.text, turn.model, turn.replaced = answer.text, answer.model, question.replaced
        yield turn
