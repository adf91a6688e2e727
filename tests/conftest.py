"""Fixtures every test may use."""

import gc
import logging
from collections.abc import Generator, Iterator

import pytest

from tests.ports import free_port
from tests.redis_server import RedisServer, running_redis


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is imported and collected: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def no_log_left_behind() -> Iterator[None]:
    """Take away what a command that ran in this process logs to: its standard error is closed."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in before[0]:
            root.removeHandler(handler)
    root.setLevel(before[1])


@pytest.fixture
def unused_tcp_port() -> int:
    return free_port()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of its own; who asks for it is `slow`, for only `make test` installs one."""
    with running_redis() as server:
        yield server
