"""Folders in the database: whose they are, what they keep, what goes with them."""

from pathlib import Path

import pytest
from PIL import Image

from llava_serve.storage.folders import FolderContents, Folders
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.listing import ConversationList
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnMediaRow, TurnRow

ALICE, BOB, BROWSER = Identity(owner="alice"), Identity(owner="bob"), Identity(browser="b")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    made = Store(default_url(tmp_path), clock)
    made.create_tables()
    return made


@pytest.fixture
def images(tmp_path: Path) -> list[StoredFile]:
    media = MediaStore(tmp_path / "media", 1_000_000)
    for name in ("one", "two"):
        Image.new("RGB", (len(name), 3 if name == "one" else 4)).save(tmp_path / f"{name}.png")
    return [media.put(tmp_path / f"{name}.png") for name in ("one", "two")]


def add(folders: Folders, folder_id: str, whose: Identity) -> None:
    folders.add(folder_id, whose, "what?", ["m"], {"seed": 1})


def test_a_folder_comes_back_to_whose_it_is(store: Store, images: list[StoredFile]) -> None:
    folders = Folders(store)
    for whose in (ALICE, BROWSER):
        add(folders, repr(whose)[-32:], whose)
    folder_id = repr(ALICE)[-32:]
    for position, image in ((7, images[1]), (2, images[0])):
        folders.put_image(folder_id, position, image)
    folders.put_answer(folder_id, (1, 0), "half", {"state": "stopped"})
    folders.put_answer(folder_id, (1, 0), "whole", {"state": "done"})
    row = folders.folder(ALICE, folder_id)
    assert row is not None and (row.models, row.parameters) == (["m"], {"seed": 1})
    assert [one.name for one in row.images] == ["one.png", "two.png"]
    assert [(one.position, one.text) for one in row.answers] == [(1, "whole")]
    assert [entry.images for entry in folders.entries(ALICE)[0]] == [2]
    for stranger in (BOB, BROWSER, NOBODY):
        assert folders.folder(stranger, folder_id) is None
        assert folders.delete(stranger, folder_id) is None
        assert folder_id not in [entry.id for entry in folders.entries(stranger)[0]]


def test_as_many_as_are_asked_for_are_listed_newest_first(store: Store, clock: Clock) -> None:
    folders = Folders(store)
    for number in range(52):
        clock.now += 1
        add(folders, str(number), ALICE)
        add(folders, f"bob's {number}", BOB)
    for count, has_more in ((50, True), (51, True), (52, False), (100, False)):
        found, more = folders.entries(ALICE, count)
        newest = [str(number) for number in range(51, -1, -1)]
        assert ([entry.id for entry in found], more) == (newest[:count], has_more)


def test_what_a_folder_has_is_counted_beside_one_place(
    store: Store, images: list[StoredFile]
) -> None:
    folders = Folders(store)
    add(folders, "f", ALICE)
    add(folders, "another", ALICE)
    folders.put_image("another", 0, images[0])
    assert folders.contents(ALICE, "f", 0) == FolderContents(0, 0, False)
    for position, image in enumerate(images):
        folders.put_image("f", position, image)
    one, two = (image.size_bytes for image in images)
    assert folders.contents(ALICE, "f", 9) == FolderContents(2, one + two, False)
    assert folders.contents(ALICE, "f", 0) == FolderContents(1, two, False)
    for slot in range(2):
        folders.put_answer("f", (0, slot), "text", {})
    assert folders.contents(ALICE, "f", 9) == FolderContents(2, one + two, True)
    for stranger in (BOB, BROWSER, NOBODY):
        assert folders.contents(stranger, "f", 0) is None


def test_an_image_of_a_folder_is_in_use_and_its_users_to_see(
    store: Store, images: list[StoredFile]
) -> None:
    folders = Folders(store)
    add(folders, "f", ALICE)
    folders.put_image("f", 0, images[0])
    assert ConversationList(store).used([image.filename for image in images]) == {
        images[0].filename
    }
    assert store.has_media("alice", images[0].sha256)
    assert not store.has_media("bob", images[0].sha256)
    assert folders.delete(ALICE, "f") == [images[0].filename]
    assert not store.has_media("alice", images[0].sha256)


def test_what_a_conversation_has_stays_when_a_folder_goes(
    store: Store, images: list[StoredFile]
) -> None:
    folders = Folders(store)
    add(folders, "f", ALICE)
    for position, image in enumerate(images):
        folders.put_image("f", position, image)
    turn = TurnRow(exchange=0, role="user", text="q", media=[TurnMediaRow.of(images[1])])
    store.add_turns("c", "chat", [turn], BOB)
    assert folders.delete(ALICE, "f") == [images[0].filename]


@pytest.mark.parametrize(
    ("owner", "left"), [(None, []), ("alice", ["bob"]), ("carol", ["alice", "bob"])]
)
def test_old_folders_are_deleted_with_old_conversations(
    store: Store, clock: Clock, images: list[StoredFile], owner: str | None, left: list[str]
) -> None:
    folders = Folders(store)
    for whose in (ALICE, BOB):
        add(folders, str(whose.owner), whose)
        folders.put_image(str(whose.owner), 0, images[0])
    clock.now = 200.0
    add(folders, "new", ALICE)
    deleted = store.delete_before(150.0, owner)
    known = [name for name in ("alice", "bob") if folders.folder(Identity(owner=name), name)]
    assert known == left
    assert folders.folder(ALICE, "new") is not None
    assert deleted.filenames == ([] if left else [images[0].filename])
