"""The `ollama` package's own client, of a controller and of a worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest

HELLO: list[Any] = [{"role": "user", "content": "hello <image> there"}]


@asynccontextmanager
async def client_of(address: str, **fields: Any) -> AsyncIterator[ollama.AsyncClient]:
    client: Any = ollama.AsyncClient(address, trust_env=False, **fields)
    async with client:
        yield client


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": HELLO} | fields


@pytest.fixture
async def client(address: str) -> AsyncIterator[ollama.AsyncClient]:
    async with client_of(address) as client:
        yield client
