"""A key gets what it may have, and is told when there is more."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.limits import KeyLimits
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey
from llava_serve.errors import BudgetSpent, KeyRefused, ModelNotAllowed, RateLimited


@pytest.fixture
def store(tmp_path: Path) -> AccountStore:
    store = AccountStore(default_url(tmp_path))
    store.create_tables()
    return store


@pytest.fixture
async def ring(store: AccountStore) -> AsyncIterator[KeyRing]:
    ring = KeyRing(store)
    async with ring.opened():
        yield ring


async def made(store: AccountStore, ring: KeyRing, key: ApiKey) -> ApiKey:
    return await ring.find(store.create(key).text)


async def test_a_key_that_was_just_made_is_known(store: AccountStore, ring: KeyRing) -> None:
    assert ring.is_empty
    key = await made(store, ring, ApiKey(id="", name="a"))
    assert (key.name, ring.is_empty) == ("a", False)


@pytest.mark.parametrize("text", ["", "nonsense", "sk-llava-000000000000-secret", "é" * 3000])
async def test_what_is_no_key_is_refused(ring: KeyRing, text: str) -> None:
    with pytest.raises(KeyRefused, match="unknown"):
        await ring.find(text)


async def test_a_key_with_another_secret_is_refused(store: AccountStore, ring: KeyRing) -> None:
    text = store.create(ApiKey(id="", name="a")).text
    with pytest.raises(KeyRefused, match="unknown"):
        await ring.find(text[:-1] + ("x" if text[-1] != "x" else "y"))


async def test_an_expired_key_is_refused(store: AccountStore, ring: KeyRing) -> None:
    text = store.create(ApiKey(id="", name="a", expires_at=1.0)).text
    with pytest.raises(KeyRefused, match="expired"):
        await ring.find(text)


async def test_a_model_that_is_not_the_keys_is_refused(store: AccountStore, ring: KeyRing) -> None:
    key = await made(store, ring, ApiKey(id="", name="a", models=("m",)))
    limits = KeyLimits(ring)
    assert await limits.admit(key, "m") == {}
    with pytest.raises(ModelNotAllowed, match="'n'"):
        await limits.admit(key, "n")


async def test_requests_in_a_minute_are_counted_and_told(
    store: AccountStore, ring: KeyRing
) -> None:
    key = await made(store, ring, ApiKey(id="", name="a", requests_per_minute=2))
    other = await made(store, ring, ApiKey(id="", name="b", requests_per_minute=2))
    limits = KeyLimits(ring)
    headers = await limits.admit(key, "m")
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert 0 < float(headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
    await limits.admit(key, "m")
    with pytest.raises(RateLimited, match="2 requests per minute") as refused:
        await limits.admit(key, "m")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    await limits.admit(other, "m")


async def test_tokens_count_at_the_end_of_an_answer(store: AccountStore, ring: KeyRing) -> None:
    key = await made(store, ring, ApiKey(id="", name="a", tokens_per_minute=100))
    limits = KeyLimits(ring)
    await limits.admit(key, "m")
    await limits.charge(key, 99)
    headers = await limits.admit(key, "m")
    assert headers["x-ratelimit-remaining-tokens"] == "1"
    await limits.charge(key, 500)
    with pytest.raises(RateLimited, match="100 tokens per minute"):
        await limits.admit(key, "m")


async def test_answers_at_once_are_counted_while_they_run(
    store: AccountStore, ring: KeyRing
) -> None:
    key = await made(store, ring, ApiKey(id="", name="a", max_parallel=2))
    limits = KeyLimits(ring)
    too_many = pytest.raises(RateLimited, match="2 answers at once")
    with limits.running(key, 2), too_many, limits.running(key, 1):
        pass
    with limits.running(key, 1):
        pass


async def test_the_budget_of_a_month_ends_it(store: AccountStore, ring: KeyRing) -> None:
    key = await made(store, ring, ApiKey(id="", name="a", monthly_tokens=10))
    limits = KeyLimits(ring)
    await limits.admit(key, "m")
    await limits.charge(key, 10)
    with pytest.raises(BudgetSpent, match="10 tokens"):
        await limits.admit(key, "m")


async def test_tokens_reach_the_database_when_the_ring_closes(store: AccountStore) -> None:
    ring = KeyRing(store)
    async with ring.opened():
        key = await made(store, ring, ApiKey(id="", name="a"))
        await KeyLimits(ring).charge(key, 10)
    assert store.tokens_this_month() == {key.id: 10}
