"""An address that failed too often waits, and nobody else does."""

import pytest

from llava_serve.errors import TooManyLogins
from llava_serve.logins import attempts
from llava_serve.logins.attempts import FailedLogins


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(address: str, clock: Clock) -> FailedLogins:
    logins = FailedLogins(clock)
    for _ in range(attempts.MOST):
        logins.check(address)
        logins.add(address)
    return logins


def test_an_address_waits_after_its_last_failure_and_no_longer() -> None:
    clock = Clock()
    logins = failed("192.0.2.1", clock)
    with pytest.raises(TooManyLogins) as refused:
        logins.check("192.0.2.1")
    assert refused.value.headers["Retry-After"] == str(attempts.WAIT_S)
    logins.check("192.0.2.2")
    clock.now += attempts.WAIT_S + 1
    logins.check("192.0.2.1")


@pytest.mark.parametrize(
    ("address", "same"), [("2001:db8:1:2::3", "2001:db8:1:2::4"), ("::ffff:192.0.2.1", "192.0.2.1")]
)
def test_the_addresses_of_one_network_count_together(address: str, same: str) -> None:
    logins = failed(address, Clock())
    with pytest.raises(TooManyLogins):
        logins.check(same)
    logins.check("2001:db8:1:3::3")
