"""Replicas on a real Ray cluster of three machines: lost machines, load, status, ends."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from tests.launching.placement.ray_cluster import (
    LIMIT_S,
    MODEL,
    Client,
    Machines,
    client_of,
    launch_flags,
    launched,
    run,
    three_machines,
)
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with three_machines() as machines:
        yield machines


@pytest.fixture
def machines(cluster: Machines) -> Machines:
    """Three machines, whatever an earlier test did to them."""
    cluster.restore()
    return cluster


def _machine(row: dict[str, str]) -> str:
    found = re.fullmatch(r"\S+ \((\w+)\)", row["machine"])
    assert found, row
    return found[1]


async def test_replicas_of_a_lost_machine_come_back_on_another_and_no_request_is_lost(
    machines: Machines, tmp_path: Path
) -> None:
    with launched(machines, tmp_path, "replicas=2") as launch:
        async with client_of(launch) as client:
            before = await client.until_alive(2)
            rows = await client.until_ready(2)
            assert [(row["model"], row["replica"]) for row in rows] == [
                (MODEL, MODEL),
                (MODEL, f"{MODEL}#2"),
            ]
            assert {row["address"] for row in rows} == before
            assert len({_machine(row) for row in rows}) == 2
            lost = next(row for row in rows if machines.has(_machine(row)))
            async with client.asking(4):
                await client.until(lambda: _has_answered(client, 8))
                launch.workers()[lost["address"].rpartition(":")[2]].kill()
                await asyncio.to_thread(machines.remove, _machine(lost))
                await client.until(lambda: _is_noted(client, f"{lost['replica']} on "))
                await client.until(lambda: _is_noted(client, "is placed on", times=3))
                await client.until_alive(2)
                answered = client.answered
                await client.until(lambda: _has_answered(client, answered + 8))
            rows_after = {row["replica"]: row for row in await client.until_ready(2)}
            assert client.lost == []
            again = rows_after[lost["replica"]]
            assert again["restarts"] == "1"
            assert _machine(again) != _machine(lost)
        launch.process.terminate()
        assert launch.process.wait(LIMIT_S) == 0
        assert launch.workers() == {}


async def test_there_are_more_replicas_under_load_and_fewer_afterwards(
    machines: Machines, tmp_path: Path
) -> None:
    with launched(machines, tmp_path, "min=1:max=3", "--idle-after", "2") as launch:
        async with client_of(launch) as client:
            await client.until_alive(1)
            async with client.asking(12):
                await client.until_alive(3)
                machines_used = {_machine(row) for row in await client.until_ready(3)}
            async with client.asking(1):  # two replicas have a free slot
                await client.until_alive(2)
            await client.until_alive(1)
            await client.until(lambda: _has_gone(client, 1))
            assert client.lost == []
            assert client.answered > 12
            assert len(machines_used) == 3
            assert [row["replica"] for row in await launch.status()] == [MODEL]


async def test_a_name_that_is_taken_under_load_ends_no_launch(
    machines: Machines, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with launched(machines, tmp_path, "min=1:max=2") as launch:
        async with client_of(launch) as client:
            await client.until_alive(1)
            with launched(machines, tmp_path / "other", "replicas=1", model=f"{MODEL}#2") as other:
                async with client_of(other) as its_client:
                    await its_client.until_alive(1)
                async with client.asking(4):
                    await client.until(lambda: _is_noted(client, f"{MODEL}#2 is asked for again"))
            async with client.asking(4):
                await client.until_alive(2)
            assert client.lost == []


async def test_a_killed_launch_leaves_no_process_and_its_names_are_free_again(
    machines: Machines, tmp_path: Path
) -> None:
    with launched(machines, tmp_path, "replicas=1") as launch:
        async with client_of(launch) as client:
            await client.until_alive(1)
            flags = launch_flags(machines, free_ports(2), tmp_path / "2", f"x/a={MODEL}")
            second = await run("llava_serve.launch", *flags)
            assert second.returncode == 1
            assert f"a replica named {MODEL!r} already" in second.stderr
            left = [*launch.descendants(), *launch.workers().values()]
            assert len(left) >= 2
            launch.process.kill()
            launch.process.wait()
            psutil.wait_procs(left, LIMIT_S)
            assert [one for one in left if one.is_running()] == []
    again = tmp_path / "again"
    again.mkdir()
    with launched(machines, again, "replicas=1") as launch:
        async with client_of(launch) as client:
            await client.until_alive(1)


async def test_what_finds_no_place_says_what_it_needs_and_takes_the_place_that_comes(
    machines: Machines, tmp_path: Path
) -> None:
    with launched(machines, tmp_path, "replicas=1:gpus=2") as launch:
        async with client_of(launch) as client:
            needed = "it needs 2 GPU and 1 CPU, and the cluster has 0 of 0 GPU"
            await client.until(lambda: _is_noted(client, needed))
            (row,) = await launch.status()
            assert (row["replica"], row["state"]) == (MODEL, "waits for resources")
            machine = machines.add(gpus=2)
            await client.until_alive(1)
            (row,) = await client.until_ready(1)
            assert row["gpus"] == "2"
            assert machine.node_id.startswith(_machine(row))
        launch.process.terminate()
        assert launch.process.wait(LIMIT_S) == 0
        assert "exception" not in launch.log.read_text()


async def test_a_worker_that_cannot_start_ends_the_launch_with_its_lines(
    machines: Machines, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    flags = launch_flags(machines, free_ports(2), tmp_path, str(empty))
    done = await run("llava_serve.launch", *flags)
    assert done.returncode == 1, done.stderr
    assert "empty      | cannot load" in done.stderr
    assert "\nempty ended before it was ready: " in done.stderr


async def test_a_cluster_that_is_not_there_is_one_clear_sentence() -> None:
    done = await run("llava_serve.launch", "--ray", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--ray 127.0.0.1:1: nothing answers there: ")
    assert "ray start --head" in done.stderr


async def _has_answered(client: Client, count: int) -> bool:
    return client.answered >= count or bool(client.lost)


async def _has_gone(client: Client, left: int) -> bool:
    return len(client.launch.workers()) == left


async def _is_noted(client: Client, text: str, times: int = 1) -> bool:
    return client.launch.log.read_text().count(text) >= times
