"""Folder runs of the page: every model answers every image, and a user has one at a time."""

import asyncio
import logging
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence, Set as AbstractSet
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from llava_serve.errors import (
    BlindModelChosen,
    EngineFailure,
    FolderBegun,
    FolderBusy,
    FolderModelCount,
    FolderUnknown,
    FolderWithoutImages,
    FolderWithoutQuestion,
    NoCookies,
    NoImage,
    NoWorker,
)
from llava_serve.storage.folders import FolderContents, FolderEntry, Folders
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.fingerprint import seed_for
from llava_serve.web.compare.folder_answering import FolderAnswering
from llava_serve.web.compare.folder_run import FolderRun, Place
from llava_serve.web.crowd import Crowd
from llava_serve.web.moderation import check_all
from llava_serve.web.parameters import Parameters
from llava_serve.web.render import LETTERS
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import streaming

logger = logging.getLogger(__name__)

ReadInto = Callable[[Path], Awaitable[None]]
"""Writes the bytes of an upload into a file."""

_UPLOADS_OF_ONE = 4  # at once on their way from one user or browser
_UPLOADS = 4  # at once taken into the store, of all of them
_MOST_RUNNING = 64  # folders: each has all its answers in memory
_CHECK_S = 1.0

_THIS, _ANOTHER = "this folder", "another folder of yours"


class FolderRuns:
    """What is not theirs is to everybody as if it were not there: FolderUnknown."""

    def __init__(
        self, services: Services, remove_unused: Callable[[set[str]], Awaitable[None]]
    ) -> None:
        self._services = services
        self._folders = Folders(services.store)
        self._answering = FolderAnswering(services, self._folders)
        self._remove_unused = remove_unused
        self._crowd = Crowd("folders", _MOST_RUNNING)
        self._running: dict[str, FolderRun] = {}
        self._uploads = asyncio.Semaphore(_UPLOADS)
        self._uploads_of = WeakValueDictionary[Identity, asyncio.Semaphore]()
        self._filling = WeakValueDictionary[str, asyncio.Lock]()

    @property
    def media(self) -> MediaStore:
        """Where the images are."""
        return self._services.media

    def offered(self) -> dict[str, Any]:
        """Return the models that can be asked, and how many images of which size together."""
        limits = self._services.folder_limits
        models = [card.id for card in self._services.link.cards if card.can_see]
        return {"models": models, "most": limits.images, "most_bytes": limits.size_bytes}

    async def entries(self, whose: Identity, count: int) -> tuple[list[FolderEntry], bool]:
        """Return the newest folders, and whether there are more."""
        return await asyncio.to_thread(self._folders.entries, whose, count)

    async def begin(
        self,
        whose: Identity,
        question: str,
        models: Sequence[str],
        parameters: Parameters,
        sizes_bytes: Sequence[int],
    ) -> str:
        """Make a folder for images of these sizes; return its id.

        Raises:
            NoCookies, FolderRefused, FolderTooLarge: it cannot be asked about.
            ModerationRefused, ModerationUnavailable: the question may not be asked.
        """
        if whose == NOBODY:
            raise NoCookies("the answers would not be found again")
        if not question:
            raise FolderWithoutQuestion
        if not sizes_bytes:
            raise FolderWithoutImages
        self._check_models(models)
        self._services.folder_limits.check(sizes_bytes)
        await check_all(self._services.moderation, (parameters.system, question))
        if not parameters.seed.strip():
            parameters = replace(parameters, seed=str(seed_for(())))
        folder_id = secrets.token_hex(16)
        add = partial(self._folders.add, folder_id, whose, question, models, parameters.kept())
        await asyncio.to_thread(add)
        return folder_id

    def _check_models(self, models: Sequence[str]) -> None:
        if not 1 <= len(models) <= len(LETTERS) or len({*models}) < len(models):
            raise FolderModelCount(len(models), len({*models}), len(LETTERS))
        cards = {name: self._services.link.card(name) for name in models}
        if gone := [name for name, card in cards.items() if card is None]:
            raise NoWorker(", ".join(gone))
        if blind := [name for name, card in cards.items() if card and not card.can_see]:
            raise BlindModelChosen(blind)

    async def add_image(
        self, whose: Identity, folder_id: str, name: str, position: int, read: ReadInto
    ) -> None:
        """Put an image into its place among the others.

        Raises:
            NoImage, FolderTooLarge: it is none, or one too many.
            FolderBegun, FolderUnknown: it is too late for it.
            MediaUnreadable, MediaTooLarge: it cannot be shown.
        """
        services = self._services
        await self._others(whose, folder_id, position)
        uploads_of = self._uploads_of.setdefault(whose, asyncio.Semaphore(_UPLOADS_OF_ONE))
        async with uploads_of:
            with tempfile.TemporaryDirectory(prefix="folder-") as folder:
                path = Path(folder) / "file"
                await read(path)  # for as long as a browser takes: nobody else waits for it
                unused: str | None = None
                try:
                    async with self._uploads, self.filling(folder_id), services.gate.arriving():
                        others = await self._others(whose, folder_id, position)
                        stored = await self._stored(others, path, name)
                        unused = stored.filename
                        if is_image := stored.filetype.kind == "image":
                            put = partial(self._folders.put_image, folder_id, position, stored)
                            unused = await asyncio.to_thread(put)
                finally:
                    if unused is not None:
                        await self._remove_unused({unused})
        if not is_image:
            raise NoImage(f"{name!r} is no picture")

    def filling(self, folder_id: str) -> asyncio.Lock:
        """Return what keeps the images of a folder as they are."""
        return self._filling.setdefault(folder_id, asyncio.Lock())

    async def _others(self, whose: Identity, folder_id: str, position: int) -> FolderContents:
        """Return what a folder has beside the image in a place, where one can still be put."""
        contents = await asyncio.to_thread(self._folders.contents, whose, folder_id, position)
        if contents is None:
            raise FolderUnknown
        if contents.has_answers or folder_id in self._running:
            raise FolderBegun
        return contents

    async def _stored(self, others: FolderContents, path: Path, name: str) -> StoredFile:
        size_bytes = await asyncio.to_thread(lambda: path.stat().st_size)
        sizes_bytes = [0] * others.images + [others.size_bytes + size_bytes]
        self._services.folder_limits.check(sizes_bytes)
        return await asyncio.to_thread(self._services.media.put, path, name)

    async def find(self, whose: Identity, folder_id: str) -> FolderRun:
        """Return a folder with what is known of its answers. Raises: FolderUnknown."""
        if (run := self._running.get(folder_id)) is not None:
            if run.whose != whose:
                raise FolderUnknown
            return run
        row = await asyncio.to_thread(self._folders.folder, whose, folder_id)
        if row is None:
            raise FolderUnknown
        return FolderRun.of(row)

    async def start(
        self,
        whose: Identity,
        folder_id: str,
        places: AbstractSet[Place] | None = None,
        address: str = "",
    ) -> None:
        """Ask for the answers that are missing or failed, or for those of them in `places`.

        `address` is the IP address that asks.

        Raises:
            FolderWithoutImages: there is nothing to ask about.
            FolderBusy: a folder of theirs is being answered.
            PageBusy: too many folders are.
        """
        async with self.filling(folder_id):  # an image that arrives would move the others' places
            run = await self.find(whose, folder_id)
            if folder_id in self._running:
                raise FolderBusy(_THIS)
            if any(one.whose == whose for one in self._running.values()):
                raise FolderBusy(_ANOTHER)
            if not run.images:
                raise FolderWithoutImages
            wanted = [place for place in run.places if run.is_wanting(place)]
            wanted = [place for place in wanted if places is None or place in places]
            if not wanted:
                return
            counted = ExitStack()
            counted.enter_context(self._crowd.joined(address))
            for place in wanted:
                reply = StreamedReply(run.models[place[1]])
                reply.asked = run.parameters
                run.answers[place] = reply
                run.touch(place)
            self._running[folder_id], run.is_running = run, True
            task = asyncio.create_task(self._run(run, wanted), name="folder")
            task.add_done_callback(lambda _: counted.close())  # also where it never began
            self._services.running.start(task)

    async def stop(self, whose: Identity, folder_id: str) -> None:
        """End the answers that are being made; those that are whole stay."""
        run = await self.find(whose, folder_id)
        if run.running is not None:
            run.running.stop()

    async def delete(self, whose: Identity, folder_id: str) -> None:
        """Delete a folder with the images that nobody else uses."""
        async with self.filling(folder_id):
            await self.find(whose, folder_id)
            if folder_id in self._running:
                raise FolderBusy(_THIS)
            filenames = await asyncio.to_thread(self._folders.delete, whose, folder_id)
        if filenames is None:
            raise FolderUnknown
        await self._remove_unused({*filenames})

    async def _run(self, run: FolderRun, wanted: Sequence[Place]) -> None:
        replies = [run.answers[place] for place in wanted]
        try:
            async with (
                streaming(self._answering.answer(run, wanted), replies) as handle,
                self._services.running.listed(handle),
            ):
                run.running = handle
                async for _ in handle.ended(_CHECK_S):
                    pass
        except Exception:
            logger.exception("the answers to a folder failed")
        finally:
            for place in wanted:
                reply = run.answers[place]
                if reply.is_open:
                    failure = EngineFailure("the page failed; the cause is in its log")
                    reply.end("failed", time.monotonic(), failure)
                if reply.is_unsaved and (reply.state != "stopped" or reply.text):
                    await self._answering.write(run, place)
                run.touch(place)
            self._running.pop(run.id, None)
            run.is_running = False
