"""Ports are asked for before anything is started."""

import pytest

from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.launching.plan import Port
from llava_serve.launching.ports import check_ports


def test_a_port_in_use_is_named_with_who_needs_it_and_the_flag() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CommandError) as refused:
            check_ports([Port("127.0.0.1", number, "the page", "--web-port")])
    assert refused.value.message == f"port {number}, which the page needs, is in use"
    assert "--web-port" in refused.value.remedy


def test_a_free_port_is_free_afterwards_too() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
    port = Port("127.0.0.1", number, "the controller", "--controller-port")
    check_ports([port])
    check_ports([port])


def test_one_port_for_two_processes_is_refused() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
    ports = [
        Port("127.0.0.1", number, "the controller", "--controller-port"),
        Port("127.0.0.1", number, "the page", "--web-port"),
    ]
    with pytest.raises(CommandError, match="wanted by the controller and by the page"):
        check_ports(ports)


@pytest.mark.parametrize("number", [0, 65536])
def test_a_number_that_is_no_port_is_refused(number: int) -> None:
    with pytest.raises(CommandError, match=f"there is no port {number}"):
        check_ports([Port("127.0.0.1", number, "the page", "--web-port")])


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match=r"cannot listen on 192\.0\.2\.1:41999") as refused:
        check_ports([Port("192.0.2.1", 41999, "the page", "--web-port")])
    assert "--host" in refused.value.remedy
