"""A conversation of the page, and the messages a model gets of it."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llava_serve.errors import BodyTooLarge, ServeError
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.answer import Answer
from llava_serve.web.parameters import Parameters
from llava_serve.web.request_json import DataUri
from llava_serve.web.streaming import Streaming

Kind = Literal["chat", "compare"]


@dataclass(eq=False)
class Exchange:
    """A question with its pictures and clips, and one answer for each model that was asked."""

    text: str
    files: tuple[StoredFile, ...]
    answers: list[Answer] = field(default_factory=list)
    number: int = 0  # which of its conversation it is, in the database
    turn_id: int | None = None  # the question's row in the database, once it is there
    vote: str | None = None  # what the page says of the vote of a comparison

    @property
    def is_open(self) -> bool:
        return any(answer.is_open for answer in self.answers)

    @property
    def failed(self) -> list[int]:
        """The places of the answers that ended with an error."""
        return [slot for slot, answer in enumerate(self.answers) if answer.error is not None]

    def is_left_out(self, slot: int) -> bool:
        """Whether the model in `slot` refused the question itself, and hears it no more."""
        return slot < len(self.answers) and self.answers[slot].refused is not None

    @property
    def is_unsent(self) -> bool:
        """Whether no model hears it any more."""
        return bool(self.answers) and all(answer.refused for answer in self.answers)

    def snapshot(self) -> "Exchange":
        """Return a copy that stands still, to be drawn on a thread while the answers grow."""
        return replace(self, answers=[replace(answer) for answer in self.answers])


@dataclass(frozen=True)
class Taken:
    """What Edit, Regenerate or Continue took away: it can be brought back until the next question.

    With `answers`, by their slots, it was those of `exchange` alone, and the vote on them all.
    """

    exchange: Exchange
    answers: dict[int, Answer] | None = None
    vote: str | None = None


@dataclass(eq=False)
class Conversation:
    """What was said and heard. Every tab of a browser that knows the id shows the same one.

    The id is all that is needed to read it: nothing but chance makes it.
    """

    kind: Kind = "chat"
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    exchanges: list[Exchange] = field(default_factory=list)
    parameters: Parameters = field(default_factory=Parameters)  # of the answers that are open
    running: Streaming | None = None
    notice: ServeError | None = None  # what went wrong outside any answer
    wanted: tuple[str, ...] = ()  # the models that were chosen, served or not
    has_chosen: bool = False  # whether the user has, and not the page for him
    shown: object = None  # the model menu as the browser has it
    keeps_address: bool = False  # the browser's address names one that was not found
    is_claimed: bool = False
    taken: Taken | None = None
    before: "Conversation | None" = None  # the one that was cleared for this one
    version: int = 0  # counts what the browser must be told of
    pulse: asyncio.Event = field(default_factory=asyncio.Event)  # set, and replaced, at a change

    def beat(self) -> None:
        """Wake whoever shows the conversation: there is more of an answer."""
        self.pulse, woken = asyncio.Event(), self.pulse
        woken.set()

    def touch(self) -> None:
        """Say that something else has changed than the text of an open answer."""
        self.version += 1
        self.beat()

    @property
    def last(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else None

    @property
    def asked(self) -> Parameters | None:
        """What the last question was asked with."""
        return self.parameters if self.exchanges else None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is open, or something that takes time is being done."""
        return self.is_claimed or (self.last is not None and self.last.is_open)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep everything else away from the conversation while the block waits for something.

        To be entered by whoever has just seen `is_claimed` false, without a wait between the two.
        """
        self.is_claimed = True
        try:
            yield
        finally:
            self.is_claimed = False
            self.touch()

    @property
    def can_undo(self) -> bool:
        return not self.is_busy and (self.taken is not None or self.before is not None)

    def cleared(self) -> "Conversation":
        """Return an empty one with the same choices, which can bring this one back."""
        return Conversation(
            kind=self.kind,
            parameters=self.parameters,
            wanted=self.wanted,
            has_chosen=self.has_chosen,
            before=self if self.exchanges else None,
        )

    def stop(self) -> None:
        """End what runs; an answer that has not begun ends before it does."""
        if self.running is not None:
            self.running.stop()
        elif self.last is not None:
            for answer in self.last.answers:
                if answer.state == "waiting":
                    answer.state = "stopped"
            self.touch()


def messages(
    exchanges: Sequence[Exchange],
    uri_of: Callable[[StoredFile], DataUri],
    system: str,
    slot: int = 0,
) -> list[dict[str, Any]]:
    """Return the conversation as the model in `slot` knows it.

    A question that got no answer joins the one after it: templates want turns to alternate. One
    that was refused for its files or its length is left out: with it all that follows would be
    refused too.
    An answer still to come has no text, so that a question ends the messages; where an answer
    does, the model is to continue it.
    """
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for exchange in exchanges:
        if exchange.is_left_out(slot):
            continue
        parts = [_file_part(file, uri_of(file)) for file in exchange.files]
        if exchange.text:
            parts.append({"type": "text", "text": exchange.text})
        if said and said[-1]["role"] == "user":
            said[-1]["content"] += parts
        else:
            said.append({"role": "user", "content": parts})
        if slot < len(exchange.answers) and (text := exchange.answers[slot].text):
            said.append({"role": "assistant", "content": text})
    return said


def check_size(file_bytes: int, limit_bytes: int) -> None:
    """Refuse what would not fit into one request, before any file is read.

    Raises:
        BodyTooLarge: files of so many bytes, in base64, are beyond the limit.
    """
    if file_bytes * 4 / 3 > limit_bytes:
        raise BodyTooLarge(limit_bytes)


def data_uri(media: MediaStore, file: StoredFile) -> DataUri:
    """Read a file as the wire carries it. It blocks."""
    data = base64.b64encode(media.read(file)).decode("ascii")
    return DataUri(f"data:{file.filetype.mime};base64,{data}")


def _file_part(file: StoredFile, uri: DataUri) -> dict[str, Any]:
    kind = f"{file.filetype.kind}_url"
    return {"type": kind, kind: {"url": uri}}
