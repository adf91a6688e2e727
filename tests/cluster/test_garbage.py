"""Requests leave nothing behind that only the garbage collector would find."""

import gc

import pytest

from tests.cluster.conftest import Cluster, StartWorker, chat


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_leaves_no_circle_of_references(
    cluster: Cluster, start_worker: StartWorker, stream: bool
) -> None:
    await start_worker(cluster)

    async def ask() -> None:
        answer = await cluster.http.post("/v1/chat/completions", json=chat(stream=stream))
        assert answer.status_code == 200

    await ask()  # what is made once for all
    gc.collect()
    gc.disable()
    try:
        await ask()
        await ask()  # the connection knows the last one
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = {type(one).__name__ for one in gc.garbage if "llava_serve" in type(one).__module__}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == set()
