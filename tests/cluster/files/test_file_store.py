"""Uploaded pictures are kept for their owner alone, within a quota, and for so long."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llava_serve.cluster.files.file_store import FileStore, FileStoreLimits, id_of_uuid
from llava_serve.cluster.files.kept_file import KeptFile
from llava_serve.errors import (
    FileQuotaSpent,
    FileUnknown,
    MediaTooLarge,
    MediaUnreadable,
    StorageFailed,
)
from llava_serve.media.limits import FileLimits
from tests.media.drawn import corner_marked, encoded

PNG = encoded(corner_marked())
GIF = encoded(corner_marked(), "GIF")
HOUR = 3600.0


@dataclass
class Clock:
    now: float = field(default_factory=lambda: float(int(time.time())))  # as the file system's

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(
    folder: Path,
    clock: Clock,
    owner_bytes: int = 10**7,
    total_bytes: int = 10**8,
    owner_files: int = 10,
    total_files: int = 20,
) -> FileStore:
    limits = FileStoreLimits(
        owner_bytes=owner_bytes,
        total_bytes=total_bytes,
        owner_files=owner_files,
        total_files=total_files,
        expiry_s=HOUR,
        file=FileLimits(10**6, 10**6),
    )
    return FileStore(folder / "files", limits, clock)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> FileStore:
    return make(tmp_path, clock)


def add(store: FileStore, owner: str = "a", data: bytes = PNG, **fields: str) -> KeptFile:
    return store.add(owner, data, filename="x.png", purpose="vision", file_id=fields.get("id"))


def files_in(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def test_a_picture_comes_back_after_a_restart(
    store: FileStore, tmp_path: Path, clock: Clock
) -> None:
    kept = add(store)
    again = make(tmp_path, clock)
    assert again.find("a", kept.id) == kept
    assert again.read("a", kept) == PNG
    assert (kept.media_type, kept.size_bytes, kept.filename) == ("image/png", len(PNG), "x.png")
    assert again.all_of("a") == [kept]


def test_another_owner_does_not_find_it(store: FileStore) -> None:
    kept = add(store)
    for owner, file_id in (("b", kept.id), ("a", "file-" + "0" * 32), ("a", "../../x"), ("a", "")):
        with pytest.raises(FileUnknown):
            store.find(owner, file_id)
    with pytest.raises(FileUnknown):
        store.delete("b", kept.id)
    assert store.all_of("b") == []


def test_equal_bytes_lie_there_once_until_the_last_of_them_is_deleted(
    store: FileStore, tmp_path: Path
) -> None:
    first, second = add(store), add(store)
    assert files_in(tmp_path) == [".data", ".json", ".json"]
    store.delete("a", first.id)
    assert store.read("a", second) == PNG
    store.delete("a", second.id)
    assert files_in(tmp_path) == []


def test_what_has_expired_is_not_found_and_swept(
    store: FileStore, tmp_path: Path, clock: Clock
) -> None:
    early = store.add("a", PNG, filename="x", purpose="vision", expiry_s=60)
    late = store.add("a", GIF, filename="x", purpose="vision", expiry_s=10 * HOUR)
    assert late.expires_at == clock.now + HOUR  # never longer than the operator says
    clock.now += 61
    with pytest.raises(FileUnknown):
        store.find("a", early.id)
    assert store.all_of("a") == [late]
    clock.now += HOUR
    store.sweep()
    assert files_in(tmp_path) == []


def test_an_owner_has_a_quota_of_bytes_that_deleting_gives_back(
    tmp_path: Path, clock: Clock
) -> None:
    store = make(tmp_path, clock, owner_bytes=len(PNG) + len(GIF) - 1)
    kept = add(store)
    add(store)  # the same bytes take no more
    with pytest.raises(FileQuotaSpent, match="of yours"):
        add(store, data=GIF)
    add(store, "b", data=GIF)
    for each in store.all_of("a"):
        store.delete("a", each.id)
    assert add(store, data=GIF).sha256 != kept.sha256


def test_all_together_have_a_quota(tmp_path: Path, clock: Clock) -> None:
    store = make(tmp_path, clock, total_bytes=len(PNG) + len(GIF) - 1)
    add(store, "a")
    with pytest.raises(FileQuotaSpent, match="of everybody"):
        add(store, "b", data=GIF)
    clock.now += 2 * HOUR
    store.sweep()
    add(store, "b", data=GIF)


def test_an_owner_has_so_many_files_and_so_have_all_together(tmp_path: Path, clock: Clock) -> None:
    store = make(tmp_path, clock, owner_files=2, total_files=3)
    add(store, id=id_of_uuid("first"))
    add(store)
    with pytest.raises(FileQuotaSpent, match="2 files of yours"):
        add(store)
    add(store, "b")
    with pytest.raises(FileQuotaSpent, match="3 files of everybody"):
        add(store, "c")
    add(store, id=id_of_uuid("first"))  # in place of itself


def test_of_several_those_are_kept_for_which_there_is_room(tmp_path: Path, clock: Clock) -> None:
    store = make(tmp_path, clock, owner_bytes=len(PNG) + len(GIF) - 1)
    drafts = [(store.described(data, "x", "vision"), data) for data in (PNG, PNG, GIF)]
    with pytest.raises(FileQuotaSpent, match="of yours"):
        store.add_all("a", drafts)
    assert {each.id for each in store.all_of("a")} == {drafts[0][0].id, drafts[1][0].id}
    few = make(tmp_path, clock, owner_files=3)
    drafts = [(few.described(GIF, "x", "vision"), GIF) for _ in range(2)]
    with pytest.raises(FileQuotaSpent, match="3 files of yours"):
        few.add_all("a", drafts)


def test_what_is_no_picture_is_refused_and_not_kept(store: FileStore, tmp_path: Path) -> None:
    for data in (b"", b"<svg/>", b"%PDF-1.7", PNG[:20]):
        with pytest.raises(MediaUnreadable):
            add(store, data=data)
    with pytest.raises(MediaTooLarge):
        add(store, data=PNG + b"\0" * 10**6)
    assert files_in(tmp_path) == []


def test_a_named_picture_is_replaced_by_the_next_of_its_name(store: FileStore) -> None:
    name = id_of_uuid("my picture")
    add(store, id=name)
    kept = add(store, data=GIF, id=name)
    assert store.find("a", name) == kept
    assert store.read("a", kept) == GIF
    assert len(store.all_of("a")) == 1


def test_files_are_for_the_eyes_of_the_process_alone(store: FileStore, tmp_path: Path) -> None:
    add(store)
    for path in (tmp_path / "files", *(tmp_path / "files").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_record_is_no_file(store: FileStore, tmp_path: Path, clock: Clock) -> None:
    kept = add(store)
    (record,) = tmp_path.rglob("*.json")
    record.write_text("{broken")
    with pytest.raises(FileUnknown):
        store.find("a", kept.id)
    assert store.all_of("a") == []
    clock.now += HOUR + 60  # until then its bytes may be those of a record that is to come
    store.sweep()
    assert files_in(tmp_path) == []


def test_bytes_whose_record_another_controller_is_about_to_write_are_left_alone(
    store: FileStore, tmp_path: Path, clock: Clock
) -> None:
    kept = add(store)
    place = store.path("a", kept)
    (place.parent / f"{kept.id}.json").unlink()  # as it is before its record is written
    other = make(tmp_path, clock)
    other.sweep()
    add(other, data=GIF)
    assert place.read_bytes() == PNG
    clock.now += HOUR + 60
    other.sweep()
    assert files_in(tmp_path) == []


def test_bytes_that_lie_there_are_as_young_as_the_last_file_that_has_them(
    store: FileStore, tmp_path: Path, clock: Clock
) -> None:
    kept = add(store)
    os.utime(store.path("a", kept), (time.time() - 2 * HOUR,) * 2)
    second = add(store)
    (store.path("a", kept).parent / f"{kept.id}.json").unlink()
    (store.path("a", kept).parent / f"{second.id}.json").unlink()
    make(tmp_path, clock).sweep()
    assert store.read("a", second) == PNG


def test_what_a_name_had_before_is_removed_at_once(store: FileStore, tmp_path: Path) -> None:
    name = id_of_uuid("my picture")
    add(store, id=name)
    add(store, data=GIF, id=name)
    assert files_in(tmp_path) == [".data", ".json"]


def test_the_folder_of_an_owner_goes_with_the_last_file(store: FileStore, tmp_path: Path) -> None:
    kept, other = add(store), add(store, "b")
    store.delete("a", kept.id)
    store.sweep()
    assert list((tmp_path / "files").iterdir()) == [store.path("b", other).parent]
    assert add(store).sha256 == kept.sha256


def test_a_place_that_is_no_folder_is_told_by_every_method(tmp_path: Path, clock: Clock) -> None:
    kept = add(make(tmp_path / "elsewhere", clock))
    (tmp_path / "files").write_text("in the way")
    store = make(tmp_path, clock)
    for call in (
        lambda: add(store),
        lambda: store.find("a", kept.id),
        lambda: store.all_of("a"),
        lambda: store.read("a", kept),
        lambda: store.delete("a", kept.id),
        store.sweep,
    ):
        with pytest.raises(StorageFailed, match="cannot be kept or read"):
            call()
