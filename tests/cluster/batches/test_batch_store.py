"""The record of a batch is whole or as it was."""

from pathlib import Path

import pytest

from llava_serve.cluster.batches.batch import Batch, BatchCaller
from llava_serve.cluster.batches.batch_store import BatchFolder
from llava_serve.errors import StorageFailed


def test_a_record_that_cannot_be_written_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "batch.json").mkdir()
    batch = Batch(
        id="batch_" + "0" * 32,
        caller=BatchCaller(owner="alice"),
        endpoint="/v1/chat/completions",
        input_file_id="file-1",
        completion_window="24h",
        created_at=0,
        expires_at=86_400,
    )
    with pytest.raises(StorageFailed):
        BatchFolder(tmp_path).write(batch)
    assert [path.name for path in tmp_path.iterdir()] == ["batch.json"]
