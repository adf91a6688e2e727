"""One address gets half, all together get the whole, and who has left is counted no more."""

import pytest

from llava_serve.errors import PageBusy
from llava_serve.web.crowd import Crowd, address_of


def test_one_address_gets_half_and_all_together_no_more_than_all() -> None:
    crowd = Crowd("PDFs", 4)
    with crowd.joined("a"), crowd.joined("a"):
        with pytest.raises(PageBusy, match="2 PDFs from your network"), crowd.joined("a"):
            pass
        others = crowd.joined("b"), crowd.joined("c")
        with others[0], others[1], pytest.raises(PageBusy, match="with 4 PDFs, and"):
            crowd.joined("d").__enter__()
        with crowd.joined("d"):
            pass


def test_who_fails_is_counted_no_more() -> None:
    crowd = Crowd("PDFs", 2)
    for _ in range(3):
        with pytest.raises(KeyError), crowd.joined("a"):
            raise KeyError


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3::4", 5), "2001:db8:1:2::/64"),
        (None, ""),
    ],
)
def test_of_ipv6_a_whole_network_is_one_address(client: object, told: str) -> None:
    assert address_of({"type": "http", "client": client}) == told
