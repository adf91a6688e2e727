"""Uploaded pictures are kept for their owner alone, within a quota, and for so long."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llava_serve.cluster.files.kept_file import KeptFile
from llava_serve.cluster.files.shelf import FileShelf, ShelfLimits, id_of_uuid
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
) -> FileShelf:
    limits = ShelfLimits(
        owner_bytes=owner_bytes,
        total_bytes=total_bytes,
        owner_files=owner_files,
        total_files=total_files,
        expiry_s=HOUR,
        file=FileLimits(10**6, 10**6),
    )
    return FileShelf(folder / "files", limits, clock)


@pytest.fixture
def shelf(tmp_path: Path, clock: Clock) -> FileShelf:
    return make(tmp_path, clock)


def add(shelf: FileShelf, owner: str = "a", data: bytes = PNG, **fields: str) -> KeptFile:
    return shelf.add(owner, data, filename="x.png", purpose="vision", file_id=fields.get("id"))


def files_in(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def test_a_picture_comes_back_after_a_restart(
    shelf: FileShelf, tmp_path: Path, clock: Clock
) -> None:
    kept = add(shelf)
    again = make(tmp_path, clock)
    assert again.find("a", kept.id) == kept
    assert again.read("a", kept) == PNG
    assert (kept.media_type, kept.size_bytes, kept.filename) == ("image/png", len(PNG), "x.png")
    assert again.all_of("a") == [kept]


def test_another_owner_does_not_find_it(shelf: FileShelf) -> None:
    kept = add(shelf)
    for owner, file_id in (("b", kept.id), ("a", "file-" + "0" * 32), ("a", "../../x"), ("a", "")):
        with pytest.raises(FileUnknown):
            shelf.find(owner, file_id)
    with pytest.raises(FileUnknown):
        shelf.delete("b", kept.id)
    assert shelf.all_of("b") == []


def test_equal_bytes_lie_there_once_until_the_last_of_them_is_deleted(
    shelf: FileShelf, tmp_path: Path
) -> None:
    first, second = add(shelf), add(shelf)
    assert files_in(tmp_path) == [".data", ".json", ".json"]
    shelf.delete("a", first.id)
    assert shelf.read("a", second) == PNG
    shelf.delete("a", second.id)
    assert files_in(tmp_path) == []


def test_what_has_expired_is_not_found_and_swept(
    shelf: FileShelf, tmp_path: Path, clock: Clock
) -> None:
    early = shelf.add("a", PNG, filename="x", purpose="vision", expiry_s=60)
    late = shelf.add("a", GIF, filename="x", purpose="vision", expiry_s=10 * HOUR)
    assert late.expires_at == clock.now + HOUR  # never longer than the operator says
    clock.now += 61
    with pytest.raises(FileUnknown):
        shelf.find("a", early.id)
    assert shelf.all_of("a") == [late]
    clock.now += HOUR
    shelf.sweep()
    assert files_in(tmp_path) == []


def test_an_owner_has_a_quota_of_bytes_that_deleting_gives_back(
    tmp_path: Path, clock: Clock
) -> None:
    shelf = make(tmp_path, clock, owner_bytes=len(PNG) + len(GIF) - 1)
    kept = add(shelf)
    add(shelf)  # the same bytes take no more
    with pytest.raises(FileQuotaSpent, match="of yours"):
        add(shelf, data=GIF)
    add(shelf, "b", data=GIF)
    for each in shelf.all_of("a"):
        shelf.delete("a", each.id)
    assert add(shelf, data=GIF).sha256 != kept.sha256


def test_all_together_have_a_quota(tmp_path: Path, clock: Clock) -> None:
    shelf = make(tmp_path, clock, total_bytes=len(PNG) + len(GIF) - 1)
    add(shelf, "a")
    with pytest.raises(FileQuotaSpent, match="of everybody"):
        add(shelf, "b", data=GIF)
    clock.now += 2 * HOUR
    shelf.sweep()
    add(shelf, "b", data=GIF)


def test_an_owner_has_so_many_files_and_so_have_all_together(tmp_path: Path, clock: Clock) -> None:
    shelf = make(tmp_path, clock, owner_files=2, total_files=3)
    add(shelf, id=id_of_uuid("first"))
    add(shelf)
    with pytest.raises(FileQuotaSpent, match="2 files of yours"):
        add(shelf)
    add(shelf, "b")
    with pytest.raises(FileQuotaSpent, match="3 files of everybody"):
        add(shelf, "c")
    add(shelf, id=id_of_uuid("first"))  # in place of itself


def test_of_several_those_are_kept_for_which_there_is_room(tmp_path: Path, clock: Clock) -> None:
    shelf = make(tmp_path, clock, owner_bytes=len(PNG) + len(GIF) - 1)
    drafts = [(shelf.described(data, "x", "vision"), data) for data in (PNG, PNG, GIF)]
    with pytest.raises(FileQuotaSpent, match="of yours"):
        shelf.add_all("a", drafts)
    assert {each.id for each in shelf.all_of("a")} == {drafts[0][0].id, drafts[1][0].id}
    few = make(tmp_path, clock, owner_files=3)
    drafts = [(few.described(GIF, "x", "vision"), GIF) for _ in range(2)]
    with pytest.raises(FileQuotaSpent, match="3 files of yours"):
        few.add_all("a", drafts)


def test_what_is_no_picture_is_refused_and_not_kept(shelf: FileShelf, tmp_path: Path) -> None:
    for data in (b"", b"<svg/>", b"%PDF-1.7", PNG[:20]):
        with pytest.raises(MediaUnreadable):
            add(shelf, data=data)
    with pytest.raises(MediaTooLarge):
        add(shelf, data=PNG + b"\0" * 10**6)
    assert files_in(tmp_path) == []


def test_a_named_picture_is_replaced_by_the_next_of_its_name(shelf: FileShelf) -> None:
    name = id_of_uuid("my picture")
    add(shelf, id=name)
    kept = add(shelf, data=GIF, id=name)
    assert shelf.find("a", name) == kept
    assert shelf.read("a", kept) == GIF
    assert len(shelf.all_of("a")) == 1


def test_files_are_for_the_eyes_of_the_process_alone(shelf: FileShelf, tmp_path: Path) -> None:
    add(shelf)
    for path in (tmp_path / "files", *(tmp_path / "files").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_record_is_no_file(shelf: FileShelf, tmp_path: Path, clock: Clock) -> None:
    kept = add(shelf)
    (record,) = tmp_path.rglob("*.json")
    record.write_text("{broken")
    with pytest.raises(FileUnknown):
        shelf.find("a", kept.id)
    assert shelf.all_of("a") == []
    clock.now += HOUR + 60  # until then its bytes may be those of a record that is to come
    shelf.sweep()
    assert files_in(tmp_path) == []


def test_bytes_whose_record_another_controller_is_about_to_write_are_left_alone(
    shelf: FileShelf, tmp_path: Path, clock: Clock
) -> None:
    kept = add(shelf)
    place = shelf.path("a", kept)
    (place.parent / f"{kept.id}.json").unlink()  # as it is before its record is written
    other = make(tmp_path, clock)
    other.sweep()
    add(other, data=GIF)
    assert place.read_bytes() == PNG
    clock.now += HOUR + 60
    other.sweep()
    assert files_in(tmp_path) == []


def test_bytes_that_lie_there_are_as_young_as_the_last_file_that_has_them(
    shelf: FileShelf, tmp_path: Path, clock: Clock
) -> None:
    kept = add(shelf)
    os.utime(shelf.path("a", kept), (time.time() - 2 * HOUR,) * 2)
    second = add(shelf)
    (shelf.path("a", kept).parent / f"{kept.id}.json").unlink()
    (shelf.path("a", kept).parent / f"{second.id}.json").unlink()
    make(tmp_path, clock).sweep()
    assert shelf.read("a", second) == PNG


def test_what_a_name_had_before_is_removed_at_once(shelf: FileShelf, tmp_path: Path) -> None:
    name = id_of_uuid("my picture")
    add(shelf, id=name)
    add(shelf, data=GIF, id=name)
    assert files_in(tmp_path) == [".data", ".json"]


def test_the_folder_of_an_owner_goes_with_the_last_file(shelf: FileShelf, tmp_path: Path) -> None:
    kept, other = add(shelf), add(shelf, "b")
    shelf.delete("a", kept.id)
    shelf.sweep()
    assert list((tmp_path / "files").iterdir()) == [shelf.path("b", other).parent]
    assert add(shelf).sha256 == kept.sha256


def test_a_place_that_is_no_folder_is_told_by_every_method(tmp_path: Path, clock: Clock) -> None:
    kept = add(make(tmp_path / "elsewhere", clock))
    (tmp_path / "files").write_text("in the way")
    shelf = make(tmp_path, clock)
    for call in (
        lambda: add(shelf),
        lambda: shelf.find("a", kept.id),
        lambda: shelf.all_of("a"),
        lambda: shelf.read("a", kept),
        lambda: shelf.delete("a", kept.id),
        shelf.sweep,
    ):
        with pytest.raises(StorageFailed, match="cannot be kept or read"):
            call()
