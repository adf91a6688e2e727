"""Context budget: what a conversation has used, and what a draft would cost before it is sent."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llava_serve.protocol.model_card import ModelCard
from llava_serve.storage.media import StoredFile
from llava_serve.web import menu, render
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.inspection.answer import inspect
from llava_serve.web.messages import (
    DataUri,
    check_size,
    data_uri,
    request_body,
    uri_of_bytes,
)
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply


@dataclass(frozen=True)
class MediaCost:
    """The tokens of one image or video of a draft."""

    type: Literal["image", "video"]
    tokens: int


@dataclass(frozen=True)
class DraftCost:
    """What the files of a draft cost, and what of the context is left for its text and its answer.

    It is negative where they do not fit; None: the conversation is far too long.
    """

    model: str
    media: list[MediaCost]
    context: int
    left: int | None


def smallest(conversation: ChatState, link: ControllerLink) -> tuple[int, ModelCard] | None:
    """Return the slot and the card of the model with the least context of those that answer."""
    named = enumerate(menu.answering(conversation, link))
    served = [(slot, card) for slot, name in named if (card := link.card(name)) is not None]
    return min(served, key=lambda one: one[1].context_length, default=None)


def shown(conversation: ChatState, link: ControllerLink) -> str:
    """Render how much of the context the conversation has used."""
    if (found := smallest(conversation, link)) is None:
        return ""
    slot, card = found
    return render.budget(card, _last_counted(conversation, slot))


def _last_counted(conversation: ChatState, slot: int) -> StreamedReply | None:
    exchanges = reversed(conversation.exchanges)
    replies = (one.replies[slot] for one in exchanges if slot < len(one.replies))
    return next((reply for reply in replies if reply.prompt_tokens is not None), None)


async def cost_of(
    services: Services, conversation: ChatState, paths: Sequence[str], slot: int, card: ModelCard
) -> DraftCost | None:
    """Return what a question with uploaded files costs; None where the worker cannot tell.

    `slot` and `card` are those of the model that is `smallest`. Nothing of the draft is kept.
    Without files no worker is asked.

    Raises:
        ServeError: it would be refused, or nobody can tell at the moment.
    """
    if not paths:
        last = _last_counted(conversation, slot)
        used = 0 if last is None else (last.prompt_tokens or 0) + (last.completion_tokens or 0)
        return DraftCost(card.id, [], card.context_length, card.context_length - used)
    uploaded = await asyncio.to_thread(
        lambda: [(services.media.describe(Path(path)), Path(path)) for path in paths]
    )
    path_of = dict(uploaded)
    exchanges = [one.snapshot() for one in conversation.exchanges if not one.is_unsent]
    files = [*path_of, *(file for one in exchanges for file in one.files)]
    check_size(sum(file.size_bytes for file in files), services.max_body_bytes)

    def uri_of(file: StoredFile) -> DataUri:
        if (path := path_of.get(file)) is not None:
            return uri_of_bytes(path.read_bytes(), file.filetype.mime)
        return data_uri(services.media, file)

    asked = Parameters(system=conversation.parameters.system)
    replies = [StreamedReply(card.id, asked=asked) for _ in range(slot + 1)]
    exchanges.append(Exchange("", tuple(file for file, _ in uploaded), replies))
    body = await asyncio.to_thread(request_body, exchanges, uri_of, slot)
    told = await inspect(services, conversation, body)
    if told is None:
        return None
    of_draft = told.media[len(told.media) - len(uploaded) :]
    left = None if told.prompt is None else told.context_length - told.prompt.tokens
    costs = [MediaCost(each.type, each.tokens) for each in of_draft]
    return DraftCost(card.id, costs, told.context_length, left)
