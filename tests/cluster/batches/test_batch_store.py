"""A store tells what it cannot read or write, and leaves nothing of a failed try."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llava_serve.cluster.batches.batch import Batch, BatchCaller
from llava_serve.cluster.batches.batch_store import BatchFolder, BatchStore
from llava_serve.errors import StorageFailed

BATCH = Batch(
    id="batch_" + "0" * 32,
    caller=BatchCaller(owner="alice"),
    endpoint="/v1/chat/completions",
    input_file_id="file-1",
    completion_window="24h",
    created_at=1,
    expires_at=2,
)


@pytest.mark.parametrize("ask", [BatchFolder.read, lambda folder: folder.write(BATCH)])
def test_a_record_that_fails_is_told_as_a_failed_store(
    tmp_path: Path, ask: Callable[[BatchFolder], object]
) -> None:
    record = tmp_path / "batch.json"
    record.mkdir()
    for _ in range(3):
        with pytest.raises(StorageFailed):
            ask(BatchFolder(tmp_path))
    assert list(tmp_path.iterdir()) == [record]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    folder.write(BATCH)
    assert folder.read() == BATCH


def test_a_stray_file_between_the_owners_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert BatchStore(tmp_path).under_way() == []
