"""Answering of folders: what is asked for of each model, with a part of the cluster's slots."""

import asyncio
import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from llava_serve.errors import ServeError
from llava_serve.http import serving
from llava_serve.storage.folders import Folders
from llava_serve.web import messages
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import Exchange
from llava_serve.web.compare.fingerprint import fingerprint_of
from llava_serve.web.compare.folder_places import FolderPlaces
from llava_serve.web.compare.folder_run import FolderRun, Place
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import fill

_SHARED = 8  # answers of all runs, beside one of each model
_LEFT_FOR_OTHERS = 2  # of so many slots of a model a run takes one
_UNTOLD_SLOTS = 2


class FolderAnswering:
    """Runs take turns: each waits with a few answers, and not with all that it asks for."""

    def __init__(self, services: Services, folders: Folders) -> None:
        self._services = services
        self._folders = folders
        self._places = FolderPlaces(_SHARED, self._slots_for)

    async def answer(self, run: FolderRun, wanted: Sequence[Place]) -> None:
        """Fill all answers, of each model as many at once as it has places for."""
        async with asyncio.TaskGroup() as answering:
            for slot, model in enumerate(run.models):
                its_own = iter([place for place in wanted if place[1] == slot])
                for _ in range(min(_SHARED, self._slots_for(model))):
                    answering.create_task(self._answer_each(run, its_own))

    async def _answer_each(self, run: FolderRun, places: Iterator[Place]) -> None:
        for place in places:
            await self._answer(run, place)

    async def _answer(self, run: FolderRun, place: Place) -> None:
        """Fill one answer; what goes wrong with it is its own."""
        reply = run.answers[place]
        async with self._places.of(reply.model):
            try:
                body = await asyncio.to_thread(self._body, run, place, reply)
            except ServeError as exc:
                serving.log_error(exc)
                reply.end("failed", time.monotonic(), exc)
            else:
                client, user = self._services.link.client, _name_in_line(run)
                await fill(client, [(reply, body)], partial(run.touch, place), user)
        await self.write(run, place)
        run.touch(place)

    def _slots_for(self, model: str) -> int:
        card = self._services.link.card(model)
        slots = (card.slots if card is not None else None) or _UNTOLD_SLOTS
        return max(1, slots // _LEFT_FOR_OTHERS)

    def _body(self, run: FolderRun, place: Place, reply: StreamedReply) -> dict[str, Any]:
        image = run.images[place[0]]
        media = self._services.media
        file = media.find(image.filename, image.name)
        exchanges = [Exchange(run.question, (file,), [reply])]
        body = messages.request_body(exchanges, partial(messages.data_uri, media))
        reply.fingerprint = fingerprint_of(body, messages.sha256_of)
        return body

    async def write(self, run: FolderRun, place: Place) -> None:
        """Write an answer down; where that fails it is shown all the same."""
        reply = run.answers[place]
        put = partial(self._folders.put_answer, run.id, place, reply.text, reply.details())
        try:
            await asyncio.to_thread(put)
            reply.is_unsaved = False
        except ServeError as exc:
            serving.log_error(exc)


def _name_in_line(run: FolderRun) -> str:
    """Return who a folder is where requests wait: a user's own questions wait for no folder."""
    return hashlib.sha256(f"folder {run.id}".encode()).hexdigest()[:32]
