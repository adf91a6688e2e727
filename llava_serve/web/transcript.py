"""The transcript on its way to a browser: once what it lacks, and then what is new of an answer."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from llava_serve.errors import ConversationUnknown, ServeError
from llava_serve.web import render
from llava_serve.web.chat_state import ChatState, Exchange, Kind

_INTERVAL_S = 0.05  # at most 20 updates a second
_QUIET_S = 1.0  # an update at least this often: the waiting time shown moves
_REST = 4  # rest this many times longer than an update took to draw
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Not those of the event loop: where writing to the database takes long, all of them wait for it.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="drawing")
Drawn = TypeVar("Drawn")

Delta = tuple[int, int, str]
"""How many characters of the old text stay before and after the new ones, and those."""


@dataclass(frozen=True)
class Transcript:
    """What a browser shows, as HTML: each exchange that has ended, the open one, what went wrong.

    `settled` has the invitation of an empty conversation in place of exchanges; `count` is how
    many of those have ended.
    """

    settled: Sequence[str]
    count: int
    live: str = ""
    notice: str = ""


async def on_drawing_thread(work: Callable[[], Drawn]) -> Drawn:
    """Draw on a thread that does nothing else."""
    context = copy_context()  # it has the language
    return await asyncio.get_running_loop().run_in_executor(_THREADS, context.run, work)


def drawn(
    exchanges: Sequence[Exchange],
    notice: ServeError | None,
    before: Transcript | None,
    draw: Callable[[Exchange, int], str],
    invitation: str,
) -> Transcript:
    """Draw a conversation exchange by exchange; given what was drawn before, only what is open."""
    if before is not None:
        count, settled = before.count, before.settled
    else:
        count = len(exchanges) - (1 if exchanges and exchanges[-1].is_open else 0)
        settled = [draw(one, n) for n, one in enumerate(exchanges[:count])]
        settled = settled if exchanges else [invitation]
    live = "".join(draw(one, count + n) for n, one in enumerate(exchanges[count:]))
    return Transcript(settled, count, live, "" if notice is None else render.notice_card(notice))


Draw = Callable[[ChatState, Transcript | None], Awaitable[Transcript]]
"""Draws a conversation; given what was drawn before, its open exchange only."""


class TranscriptRequest(BaseModel):
    """What a browser asks for: a conversation, and by their marks the exchanges that it has."""

    id: str = Field(max_length=64)
    have: list[str] = Field(default_factory=list, max_length=10_000)


def mark(place: int, html: str) -> str:
    """Return a short name of an exchange as it is drawn, in its place."""
    return hashlib.sha256(f"{place} {html}".encode()).hexdigest()[:8]


def delta(old: str, new: str) -> Delta:
    """Return what makes `new` of `old`; lengths are in the units of a browser's strings."""
    before = _common(old, new)
    rest = _common(old[before:][::-1], new[before:][::-1])
    end = len(new) - rest
    return _units(new[:before]), _units(new[end:]), new[before:end]


def _common(one: str, other: str) -> int:
    """Return how long the common beginning is; slices compare faster than characters."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


async def changes(
    conversation: ChatState, draw: Draw, have: Sequence[str]
) -> AsyncGenerator[dict[str, Any]]:
    """Yield what changes for a browser that has the exchanges of these marks, until all is quiet.

    The first change is complete: it names every exchange, and brings those that are missing.
    """
    known, drawn, version = set(have), None, -1
    while True:
        pulse, busy, began = conversation.pulse, conversation.is_busy, time.monotonic()
        before, is_same = drawn, version == conversation.version
        version = conversation.version
        drawn = await draw(conversation, before if is_same else None)
        find = partial(_change, before, drawn, known)
        is_small = before is not None and before.settled is drawn.settled
        if change := find() if is_small else await on_drawing_thread(find):
            yield change
        if not busy:
            yield {"version": version}
            return
        await asyncio.sleep(max(_INTERVAL_S, _REST * (time.monotonic() - began)))
        with suppress(TimeoutError):
            await asyncio.wait_for(pulse.wait(), _QUIET_S)


def _change(before: Transcript | None, now: Transcript, known: set[str]) -> dict[str, Any]:
    """Return what leads from one drawing to the next; `known` grows by the exchanges it brings."""
    change: dict[str, Any] = {}
    live = before.live if before is not None else ""
    if before is None or before.settled is not now.settled:
        marks = [mark(place, html) for place, html in enumerate(now.settled)]
        htmls = dict(zip(marks, now.settled, strict=True))
        change["marks"] = marks
        change["new"] = {name: delta(live, htmls[name]) for name in marks if name not in known}
        known.update(marks)
    if now.live != live:
        change["live"] = delta(live, now.live)
    if before is None or now.notice != before.notice:
        change["notice"] = now.notice
    return change


async def respond(
    asked: TranscriptRequest,
    find: Callable[[str], Awaitable[ChatState | None]],
    draw: Mapping[Kind, Draw],
) -> Response:
    """Answer a browser's question for a transcript; `draw` is by the kind of conversation.

    Raises:
        ConversationUnknown: there is none of this id.
        StorageFailed: the database cannot be read.
    """
    conversation = await find(asked.id)
    if conversation is None:
        raise ConversationUnknown

    async def events() -> AsyncGenerator[bytes]:
        async for change in changes(conversation, draw[conversation.kind], asked.have):
            text = json.dumps(change, ensure_ascii=False, separators=(",", ":"))
            yield f"data: {text}\n\n".encode(errors="replace")

    return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)
