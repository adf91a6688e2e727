"""What one controller writes the others read once, the youngest of each key: memory and Redis."""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import trustme
from redis.asyncio import Redis

from llava_serve.cluster.sharing.redis_state import RedisState, check_login, without_secrets
from llava_serve.cluster.sharing.shared_state import (
    MemoryState,
    SharedState,
    SharedStateAway,
    StateRecord,
)
from llava_serve.errors import CommandError
from tests.ports import free_port
from tests.redis_server import RedisServer, running_redis

A, B = StateRecord("controller a", "a"), StateRecord("controller b", "b")
W = StateRecord("worker w", "1")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[SharedState]:
    if request.param == "memory":
        memory = MemoryState()
        async with memory.opened():
            yield memory
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    shared = RedisState(server.url, "llava")
    async with shared.opened():
        yield shared


def told(records: Sequence[StateRecord]) -> set[tuple[str, str]]:
    return {(record.key, record.value) for record in records}


async def test_what_one_writes_the_other_reads_once(state: SharedState) -> None:
    mine = await state.exchange(A, [W], 0)
    assert mine.records == []
    first = await state.exchange(B, [], 0)
    assert told(first.records) == {("controller a", "a"), ("worker w", "1")}
    second = await state.exchange(B, [], first.revision)
    assert (second.records, second.is_continued) == ([], True)


async def test_the_first_exchange_continues_nothing(state: SharedState) -> None:
    assert not (await state.exchange(A, [], 0)).is_continued


async def test_an_age_is_told_as_of_the_reading(state: SharedState) -> None:
    await state.exchange(A, [StateRecord("worker w", "1", age_s=5)], 0)
    (_, record) = sorted((await state.exchange(B, [], 0)).records, key=lambda record: record.key)
    assert 5 <= record.age_s < 60


async def test_an_older_record_is_not_taken_and_answered_with_the_younger(
    state: SharedState,
) -> None:
    await state.exchange(A, [StateRecord("worker w", "young", age_s=10)], 0)
    since = (await state.exchange(B, [], 0)).revision
    late = await state.exchange(B, [StateRecord("worker w", "old", age_s=20)], since)
    assert told(late.records) == {("worker w", "young")}


async def test_a_younger_record_replaces_the_other(state: SharedState) -> None:
    await state.exchange(A, [StateRecord("worker w", "old", age_s=20)], 0)
    await state.exchange(B, [StateRecord("worker w", "young", age_s=10)], 0)
    reader = await state.exchange(StateRecord("controller c", ""), [], 0)
    assert ("worker w", "young") in told(reader.records)


async def test_a_record_that_nobody_renews_is_dropped(state: SharedState) -> None:
    await state.exchange(A, [StateRecord("worker w", "1", age_s=1000)], 0)
    assert told((await state.exchange(B, [], 0)).records) == {("controller a", "a")}


async def test_who_finds_another_state_reads_all_of_it(state: SharedState) -> None:
    await state.exchange(A, [W], 0)
    found = await state.exchange(B, [], 77)
    assert not found.is_continued
    assert ("worker w", "1") in told(found.records)


@pytest.mark.slow
async def test_a_redis_that_starts_empty_is_seen_as_another_state(
    redis_server: RedisServer,
) -> None:
    state = RedisState(redis_server.url, "llava")
    async with state.opened():
        since = (await state.exchange(A, [W], 0)).revision
        redis_server.send(signal.SIGKILL)
        with pytest.raises(SharedStateAway, match=r"^unix:///.*redis\.sock: "):
            await state.exchange(A, [], since)
        redis_server.start()
        await state.exchange(B, [W, W, W], 0)  # its revisions are behind `since` again
        assert not (await state.exchange(A, [], since)).is_continued


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["values", "times", "revisions", "last"])
async def test_the_state_heals_where_redis_drops_a_part_of_it(
    redis_server: RedisServer, lost: str
) -> None:
    state = RedisState(redis_server.url, "llava")
    async with state.opened(), Redis.from_url(redis_server.url) as redis:
        for _ in range(9):
            mine = await state.exchange(A, [W], 0)
        other = await state.exchange(B, [], mine.revision)
        await redis.delete(f"{{llava}}:{lost}")
        mine = await state.exchange(A, [], mine.revision)
        if not mine.is_continued:
            mine = await state.exchange(A, [W], mine.revision)
        await state.exchange(A, [StateRecord("worker w", "2")], mine.revision)
        assert ("worker w", "2") in told((await state.exchange(B, [], other.revision)).records)


@pytest.mark.slow
async def test_bytes_that_are_no_text_are_told_as_what_they_are_not(
    redis_server: RedisServer,
) -> None:
    state = RedisState(redis_server.url, "llava")
    async with state.opened(), Redis.from_url(redis_server.url) as redis:
        await state.exchange(A, [W], 0)
        await redis.hset("{llava}:values", "worker w", b"\xff")
        assert ("worker w", "\ufffd") in told((await state.exchange(B, [], 0)).records)


@pytest.mark.slow
async def test_a_redis_that_hangs_is_waited_for_two_seconds_at_most(
    redis_server: RedisServer,
) -> None:
    state = RedisState(redis_server.url, "llava")
    async with state.opened():
        since = (await state.exchange(A, [], 0)).revision
        redis_server.send(signal.SIGSTOP)
        with anyio.fail_after(20), pytest.raises(SharedStateAway, match="Timeout"):
            await state.exchange(A, [], since)
        redis_server.send(signal.SIGCONT)
        with anyio.fail_after(20):  # its answer to the first question is not taken for this one's
            assert told((await state.exchange(B, [], 0)).records) == {("controller a", "a")}


@pytest.mark.slow
async def test_clusters_with_other_prefixes_do_not_meet(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as alive:
        one, other = (RedisState(redis_server.url, prefix) for prefix in ("one", "other"))
        for state in (one, other):
            await alive.enter_async_context(state.opened())
        await one.exchange(A, [W], 0)
        assert (await other.exchange(B, [], 0)).records == []


@pytest.mark.slow
async def test_nothing_stays_in_redis_for_ever(redis_server: RedisServer) -> None:
    state = RedisState(redis_server.url, "llava")
    async with state.opened(), Redis.from_url(redis_server.url, decode_responses=True) as redis:
        await state.exchange(A, [W], 0)
        keys = [str(key) for key in await redis.keys()]
        assert keys and all(key.startswith("{llava}:") for key in keys)
        assert all([0 < await redis.ttl(key) <= 900 for key in keys])


@pytest.mark.slow
async def test_a_redis_with_a_password_wants_it() -> None:
    with running_redis("--requirepass", "open sesame") as server:
        right = RedisState(f"unix://:open%20sesame@{server.socket}", "llava")
        async with right.opened():
            assert (await right.exchange(A, [], 0)).revision == 1
        wrong = RedisState(f"unix://:sesame@{server.socket}", "llava")
        async with wrong.opened():
            with pytest.raises(SharedStateAway) as raised:
                await wrong.exchange(A, [], 0)
        assert "sesame" not in str(raised.value)


@pytest.mark.slow
async def test_a_redis_behind_tls_is_checked_with_the_authority_in_the_url(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = str(free_port())
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file")
    flags = [str(tmp_path / flag) if flag.endswith(".pem") else flag for flag in files]
    listen = ("--tls-port", port, "--bind", "127.0.0.1", "--tls-auth-clients", "no")
    with running_redis(*flags, str(tmp_path / "ca.pem"), *listen):
        url = f"rediss://localhost:{port}"
        for query, is_trusted in ((f"?ssl_ca_certs={tmp_path}/ca.pem", True), ("", False)):
            state = RedisState(url + query, "llava")
            async with state.opened():
                if is_trusted:
                    assert (await state.exchange(A, [], 0)).revision == 1
                else:
                    with pytest.raises(SharedStateAway, match="CERTIFICATE_VERIFY_FAILED"):
                        await state.exchange(A, [], 0)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:secret@host:6379/2", "redis://host:6379/2"),
        ("rediss://host?password=secret", "rediss://host"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.slow
def test_a_password_that_is_refused_is_told_before_the_controller_listens() -> None:
    with running_redis("--requirepass", "secret") as server:
        wrong, right = (
            server.url.replace("unix://", f"unix://:{word}@") for word in ("no", "secret")
        )
        check_login(right)
        for url in (server.url, wrong):
            with pytest.raises(CommandError, match="refuses the user or the password") as refused:
                check_login(url)
            assert "redis://USER:PASSWORD@HOST" in refused.value.remedy


def test_a_redis_that_does_not_answer_may_do_so_later(tmp_path: Path) -> None:
    with pytest.raises(SharedStateAway):
        check_login(f"unix://{tmp_path}/none.sock")
