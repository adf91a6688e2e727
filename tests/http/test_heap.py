"""Memory that was freed goes back to the system, in a process of its own."""

import gc
import subprocess
import sys

import pytest

from llava_serve.http.heap import full_collections, pause_s

# Pieces of which every second one is freed, so that the heap's top never comes down by itself.
PROGRAM = """
import asyncio, psutil, sys
from llava_serve.http import heap

def used():
    return psutil.Process().memory_info().rss

def fill():
    chunks = [bytes(100_000) for _ in range(3000)]
    return used(), chunks[::50]

async def main():
    before = used()
    if sys.argv[1] == "trimmed":
        async with heap.trimmed(every_s=0.01):
            full, kept = fill()
            while used() - before > (full - before) / 4:
                await asyncio.sleep(0.01)
    else:
        full, kept = fill()
    print((used() - before) / (full - before), len(kept))

asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is what is tested")
@pytest.mark.parametrize(("mode", "least", "most"), [("trimmed", 0, 0.3), ("left", 0.7, 1.1)])
def test_freed_memory_goes_back_to_the_system(mode: str, least: float, most: float) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert least <= float(run.stdout.split()[0]) <= most


CIRCLE = """
import asyncio, weakref
from llava_serve.http import heap

class Body:
    pass

async def main():
    async with heap.trimmed(every_s=0.01):
        body = Body()
        body.error = body
        gone = weakref.ref(body)
        del body
        while gone() is not None:
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


def test_what_only_refers_to_itself_goes_while_nothing_happens() -> None:
    subprocess.run([sys.executable, "-c", CIRCLE], check=True, timeout=60)


YOUNG = """
import asyncio, gc
from llava_serve.http import heap

async def main():
    before = gc.get_threshold()
    async with heap.trimmed():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_threshold()[1:] == before[1:]

asyncio.run(main())
"""


def test_a_server_counts_more_objects_before_it_collects() -> None:
    subprocess.run([sys.executable, "-c", YOUNG], check=True, timeout=60)


@pytest.mark.parametrize(("took_s", "pause"), [(0, 5), (0.001, 5), (0.05, 25)])
def test_collections_that_take_long_are_rare(took_s: float, pause: float) -> None:
    assert pause_s(5, took_s) == pause


def test_the_last_full_collection_is_known_whoever_began_it() -> None:
    with full_collections() as last:
        gc.collect(1)
        assert last.took_s == 0
        gc.collect()
        assert last.took_s > 0
        assert last.ended_at > last.began_at
        ended_at = last.ended_at
    gc.collect()
    assert last.ended_at == ended_at


RARE = """
import asyncio, gc
from llava_serve.http import heap

async def main():
    async with heap.trimmed(every_s=0.05):
        await asyncio.sleep(0)  # it begins
        kept = [[] for _ in range(300_000)]  # to look at them takes milliseconds
        gc.collect()
        before = gc.get_stats()[2]["collections"]
        await asyncio.sleep(0.3)
        assert gc.get_stats()[2]["collections"] == before

asyncio.run(main())
"""


def test_none_comes_soon_after_one_of_somebody_else() -> None:
    subprocess.run([sys.executable, "-c", RARE], check=True, timeout=60)
