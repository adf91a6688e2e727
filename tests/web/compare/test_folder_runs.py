"""Folder runs without their routes: what is asked of whom, and what waits for what."""

import asyncio
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import event

from llava_serve.errors import BlindModelChosen, FolderTooLarge
from llava_serve.storage.folder_tables import FolderImageRow
from llava_serve.storage.identity import Identity
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.folder_limits import FolderLimits
from llava_serve.web.compare.folder_runs import FolderRuns
from llava_serve.web.parameters import Parameters
from tests.until import LIMIT_S, until

Begun = tuple[FolderRuns, str]
ALICE = Identity(owner="alice")


async def nothing_unused(filenames: set[str]) -> None:
    raise AssertionError(f"somebody uses {filenames}")


async def begun(services: Services) -> Begun:
    runs = FolderRuns(services, nothing_unused)
    return runs, await runs.begin(ALICE, "what is it?", ["echo"], Parameters(), [100])


@pytest.mark.parametrize("blind", [{"accepts_images": False}, {"sees": False}])
async def test_a_model_that_cannot_see_is_refused_though_it_is_named(
    services: Services, blind: dict[str, bool]
) -> None:
    services.link.cards = tuple(card.model_copy(update=blind) for card in services.link.cards)
    with pytest.raises(BlindModelChosen) as caught:
        await begun(services)
    assert "cannot see pictures: echo. Choose among the models" in caught.value.for_user


async def put(runs: FolderRuns, folder_id: str, position: int, width: int = 10) -> None:
    async def read(path: Path) -> None:
        out = io.BytesIO()
        Image.new("RGB", (width + position, 4)).save(out, "PNG")
        await asyncio.to_thread(path.write_bytes, out.getvalue())

    await runs.add_image(ALICE, folder_id, f"{position}.png", position, read)


@pytest.fixture
def loaded() -> Iterator[list[object]]:
    """The images of folders that are read from the database."""
    found: list[object] = []

    def note(image: object, context: object) -> None:
        if context is not None:  # else it is one that is written
            found.append(image)

    event.listen(FolderImageRow, "load", note)
    yield found
    event.remove(FolderImageRow, "load", note)


async def test_an_upload_reads_no_other_image_of_its_folder(
    services: Services, loaded: list[object]
) -> None:
    runs, folder_id = await begun(services)
    for position in range(4):
        await put(runs, folder_id, position)
    assert loaded == []
    assert len((await runs.find(ALICE, folder_id)).images) == len(loaded) == 4


async def test_an_image_that_is_sent_again_counts_once(services: Services) -> None:
    runs, folder_id = await begun(replace(services, folder_limits=FolderLimits(2, 1_000_000)))
    for position in (0, 1, 1, 0):
        await put(runs, folder_id, position)
    with pytest.raises(FolderTooLarge):
        await put(runs, folder_id, 2)


async def test_an_image_that_takes_anothers_place_leaves_no_file_behind(services: Services) -> None:
    unused: set[str] = set()

    async def note(filenames: set[str]) -> None:
        unused.update(filenames)

    runs = FolderRuns(services, note)
    folder_id = await runs.begin(ALICE, "what is it?", ["echo"], Parameters(), [100])
    await put(runs, folder_id, 0)
    (first,) = (await runs.find(ALICE, folder_id)).images
    await put(runs, folder_id, 0, width=33)
    (second,) = (await runs.find(ALICE, folder_id)).images
    assert first.filename != second.filename
    assert unused == {first.filename}


async def test_a_folder_is_deleted_with_the_image_on_its_way(services: Services) -> None:
    unused: set[str] = set()

    async def note(filenames: set[str]) -> None:
        unused.update(filenames)

    runs = FolderRuns(services, note)
    folder_id = await runs.begin(ALICE, "what is it?", ["echo"], Parameters(), [100])
    async with services.gate.removing():
        putting = asyncio.create_task(put(runs, folder_id, 0))
        await until(runs.filling(folder_id).locked, "the image on its way")
        deleting = asyncio.create_task(runs.delete(ALICE, folder_id))
        await asyncio.wait({deleting}, timeout=0.5)
        assert not deleting.done()
    await putting
    await deleting
    assert len(unused) == 1


async def test_an_image_on_its_way_is_among_those_that_are_asked_about(
    services: Services, tmp_path: Path
) -> None:
    """Else the answers to the images after it would stand beside the ones before them."""

    class Slow(MediaStore):
        arriving, may_arrive = threading.Event(), threading.Event()

        def put(self, source: Path, name: str | None = None) -> StoredFile:
            self.arriving.set()
            assert self.may_arrive.wait(LIMIT_S)
            return super().put(source, name)

    slow = Slow(tmp_path / "slow", 1_000_000)
    # One thread holds the image. The other does one thing after the other, so what is done after
    # the start has begun ends after all that the start would do if it waited for nothing.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    runs, folder_id = await begun(replace(services, media=slow))
    arriving = asyncio.create_task(put(runs, folder_id, 0))
    await until(slow.arriving.is_set, "the image")
    starting = asyncio.create_task(runs.start(ALICE, folder_id))
    for _ in range(4):
        await runs.find(ALICE, folder_id)
    waits = not starting.done()
    slow.may_arrive.set()
    assert waits
    await arriving
    await starting
    run = await runs.find(ALICE, folder_id)
    assert {*run.answers} == {(0, 0)}
    await until(lambda: not run.is_running, "the end of the run")
