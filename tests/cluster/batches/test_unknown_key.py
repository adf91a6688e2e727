"""A batch whose key cannot be looked up, as where keys are not asked for any more, still ends."""

from pathlib import Path

import pytest
from starlette.applications import Starlette

from llava_serve.cluster.batches.batch import Batch, BatchCaller
from llava_serve.cluster.batches.batch_run import BatchRun
from llava_serve.cluster.batches.batch_store import BatchFolder
from llava_serve.cluster.batches.in_flight import InFlight
from llava_serve.cluster.batches.line_asking import BatchContext
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.files.room import FileStoreLimits
from llava_serve.media.limits import FileLimits

BATCH = Batch(
    id="batch_" + "0" * 32,
    caller=BatchCaller(owner="alice", key_id="gone"),
    endpoint="/v1/chat/completions",
    input_file_id="file-1",
    completion_window="1h",
    created_at=0,
    expires_at=3600,
)


@pytest.mark.parametrize(("now", "status"), [(1.0, "cancelled"), (3600.0, "expired")])
async def test_it_ends_when_it_is_cancelled_or_over(
    tmp_path: Path, now: float, status: str
) -> None:
    folder = BatchFolder(tmp_path)
    folder.input.write_bytes(b"{}\n")
    folder.write(BATCH)
    if status == "cancelled":
        folder.cancel()
    context = BatchContext(
        app=Starlette(),
        files=FileStore(
            tmp_path / "files",
            FileStoreLimits(owner_bytes=1, total_bytes=1, expiry_s=1, file=FileLimits(1, 1)),
        ),
        keys=None,
        models=list,
        in_flight=InFlight(1, 1),
        most_line_bytes=100,
        keeps_responses=False,
        clock=lambda: now,
    )
    await BatchRun(context, folder, BATCH, is_new=True).run()
    ended = folder.read()
    assert ended is not None
    assert (ended.status, ended.ended_at) == (status, int(now))
    assert not folder.input.exists()
