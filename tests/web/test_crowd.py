"""One address gets half, all together get the whole, and who has left is counted no more."""

import pytest

from llava_serve.errors import PageBusy
from llava_serve.web.crowd import Crowd


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
