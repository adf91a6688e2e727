"""Import of a conversation that was exported as JSON: checked, and kept as a new one."""

import secrets
import tempfile
from collections.abc import Sequence
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


def keep(data: ConversationData, store: Store, media: MediaStore, whose: Identity) -> str:
    """Keep it as a conversation of theirs; return its id. It blocks.

    Raises:
        ImportRefused: a file in it is no picture or video, or too large.
        StorageFailed: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        spare = Path(folder) / "file"
        files = [_files(exchange, media, spare) for exchange in data.exchanges]
    parameters = data.parameters.model_dump(exclude_none=True)
    turns = [
        turn
        for number, exchange in enumerate(data.exchanges)
        for turn in _turns(number, exchange, files[number], parameters)
    ]
    conversation_id = secrets.token_hex(16)
    store.add_turns(conversation_id, data.kind, turns, whose)
    if data.title:
        ConversationList(store).rename(whose, conversation_id, data.title)
    return conversation_id


def _files(exchange: ExchangeData, media: MediaStore, spare: Path) -> list[StoredFile]:
    return [_file(file, media, spare) for file in exchange.files]


def _file(file: FileData, media: MediaStore, spare: Path) -> StoredFile:
    spare.write_bytes(file.data())
    try:
        return replace(media.put(spare), name=file.name)
    except (MediaUnreadable, MediaTooLarge) as exc:
        raise ImportRefused(exc.message.replace(repr(spare.name), repr(file.name))) from exc


def _turns(
    number: int, exchange: ExchangeData, files: Sequence[StoredFile], parameters: dict[str, Any]
) -> list[TurnRow]:
    media = [TurnMediaRow.of(file) for file in files]
    turns = [TurnRow(exchange=number, role="user", text=exchange.question, media=media)]
    for slot, answer in enumerate(exchange.answers):
        facts = answer.model_dump(exclude={"model", "text"}, exclude_none=True)
        details = facts | {"parameters": parameters}
        turn = TurnRow(exchange=number, slot=slot, role="assistant", details=details)
        turn.text, turn.model = answer.text, answer.model
        turns.append(turn)
    return turns
