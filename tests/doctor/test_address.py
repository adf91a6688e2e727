"""The address of a worker is judged from the controller's side."""

import aiohttp
import pytest

from llava_serve.doctor import address, cluster
from llava_serve.doctor.cluster import HttpAnswer
from llava_serve.http.serving import served
from tests.cluster.conftest import BEARER, EchoWorker
from tests.doctor.test_cluster import controller_with


@pytest.mark.parametrize(
    ("worker", "controller", "level"),
    [
        ("http://localhost:40000", "http://localhost:10000", "ok"),
        ("http://localhost:40000", "http://192.0.2.1:10000", "ok"),  # this machine's own
        ("http://localhost:40000", "http://192.0.2.9:10000", "problem"),
        ("http://192.0.2.1:40000", "http://192.0.2.9:10000", "ok"),
        ("http://192.0.2.7:40000", "http://192.0.2.9:10000", "warning"),
        ("http://no-such-host.invalid:40000", "http://192.0.2.9:10000", "problem"),
    ],
)
def test_an_address_is_judged_from_the_other_side(worker: str, controller: str, level: str) -> None:
    own = {"127.0.0.1", "192.0.2.1"}
    assert address.check_worker_address(worker, controller, own).level == level


def test_this_machine_knows_its_own_addresses() -> None:
    assert "127.0.0.1" in address.own_addresses()


async def probed(worker: str, shown: dict[str, str]) -> HttpAnswer:
    async with (
        served(controller_with()[0]) as controller,
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        return await cluster.ask(session, f"{controller}/admin/probe", shown, {"address": worker})


async def test_the_controller_reaches_a_stand_in(unused_tcp_port: int) -> None:
    worker = f"http://127.0.0.1:{unused_tcp_port}"
    async with address.stand_in("127.0.0.1", unused_tcp_port) as own_id:
        probe = await probed(worker, BEARER)
        found = address.check_probe(worker, probe, own_id)
        assert (found.level, "this machine" in found.message) == ("ok", True)
        assert address.check_probe(worker, probe, "another").level == "problem"


async def test_a_port_that_is_closed_for_the_controller_is_a_problem(unused_tcp_port: int) -> None:
    worker = f"http://127.0.0.1:{unused_tcp_port}"
    found = address.check_probe(worker, await probed(worker, BEARER), "mine")
    assert (found.level, "refused" in found.message) == ("problem", True)
    assert "--host 0.0.0.0" in found.remedy


async def test_a_worker_that_runs_keeps_its_port_and_is_named() -> None:
    async with (
        served(EchoWorker(model="mine").app()) as worker,
        address.stand_in("127.0.0.1", address.port_of(worker)) as own_id,
    ):
        found = address.check_probe(worker, await probed(worker, BEARER), own_id)
    assert own_id is None
    assert (found.level, "a worker of mine" in found.message) == ("ok", True)


async def test_without_the_token_nobody_says(unused_tcp_port: int) -> None:
    worker = f"http://127.0.0.1:{unused_tcp_port}"
    assert address.check_probe(worker, await probed(worker, {}), None).level == "warning"


def test_a_port_may_be_that_of_the_scheme() -> None:
    shown = [address.port_of(each) for each in ("http://a", "https://a", "http://a:7")]
    assert shown == [80, 443, 7]
