"""Shared state in Redis: one script reads and writes the records of all controllers at once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError

from llava_serve.cluster.sharing.shared_state import (
    KEEP_S,
    SharedStateAway,
    StateExchange,
    StateRecord,
)
from llava_serve.errors import CommandError

_TIMEOUT_S = 2.0

# KEYS: hash of values; sorted sets of times and of revisions by record; counter of revisions.
# ARGV: milliseconds to keep; the caller's last revision; key, value and age in ms of each record,
# the caller's own last. Its answer: 1 where the state still is the caller's, the revision, and key,
# value and age of each record that is new to the caller. The server's clock is the only one read.
_EXCHANGE = """
local values, times, revisions, counter = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local own = ARGV[#ARGV - 2]
local since = tonumber(ARGV[2])
local continued = tonumber(redis.call('ZSCORE', revisions, own) or -1) == since
    and since <= tonumber(redis.call('GET', counter) or 0)
if not continued then since = 0 end
local given, wanted = {}, {}
for i = 3, #ARGV, 3 do
    local key, at = ARGV[i], now - tonumber(ARGV[i + 2])
    local known = tonumber(redis.call('ZSCORE', times, key) or 0)
    if known <= at or known > now or key == own then
        redis.call('HSET', values, key, ARGV[i + 1])
        redis.call('ZADD', times, at, key)
        redis.call('ZADD', revisions, redis.call('INCR', counter), key)
    else
        table.insert(wanted, key)
    end
    given[key] = true
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', now - tonumber(ARGV[1]))) do
    redis.call('HDEL', values, key)
    redis.call('ZREM', times, key)
    redis.call('ZREM', revisions, key)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', revisions, '(' .. since, '+inf')) do
    if not given[key] then table.insert(wanted, key) end
end
local answer = {continued and 1 or 0, tonumber(redis.call('GET', counter))}
for _, key in ipairs(wanted) do
    local value, at = redis.call('HGET', values, key), redis.call('ZSCORE', times, key)
    if value and at then -- a Redis that is short of memory drops one of the four keys
        table.insert(answer, key)
        table.insert(answer, value)
        table.insert(answer, math.max(0, now - tonumber(at)))
    end
end
return answer
"""


class RedisState:
    """The shared state of controllers that use the same Redis and the same prefix of keys.

    Who can write there is believed: a worker that one controller has admitted is every other's.

    Raises:
        ValueError: `url` is none of a Redis.
    """

    def __init__(self, url: str, prefix: str) -> None:
        # The caller asks again by itself, and has to see each failure.
        self._redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            decode_responses=True,
            encoding_errors="replace",  # what others write is read like this, and then refused
        )
        self.where = without_secrets(url)
        # The braces keep all keys in one slot of a Redis Cluster.
        self._keys = [f"{{{prefix}}}:{name}" for name in ("values", "times", "revisions", "last")]
        self._script = self._redis.register_script(_EXCHANGE)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `SharedState.opened`."""
        async with self._redis:
            yield

    async def exchange(
        self, own: StateRecord, changed: Sequence[StateRecord], since: int
    ) -> StateExchange:
        """See `SharedState.exchange`."""
        arguments: list[str | int] = [int(KEEP_S * 1000), since]
        for record in (*changed, own):
            arguments += [record.key, record.value, int(record.age_s * 1000)]
        try:
            answer = await self._script(keys=self._keys, args=arguments)
        except (RedisError, OSError) as exc:
            raise SharedStateAway(f"{self.where}: {exc or type(exc).__name__}") from exc
        is_continued, revision, *told = answer
        records = [
            StateRecord(key, value, age_ms / 1000)
            for key, value, age_ms in zip(told[::3], told[1::3], told[2::3], strict=True)
        ]
        return StateExchange(records, revision, bool(is_continued))


def check_login(url: str) -> None:
    """Ask a Redis once, and wait for its answer.

    Raises:
        SharedStateAway: it does not answer, and may do so later.
        CommandError: it refuses the user or the password, and always will.
    """
    where = without_secrets(url)
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        ) as asked:
            asked.ping()
    except (AuthenticationError, AuthorizationError) as exc:
        raise CommandError(
            f"{where} refuses the user or the password ({exc})",
            "Write them into the address: redis://USER:PASSWORD@HOST:6379.",
        ) from exc
    except (RedisError, OSError) as exc:
        raise SharedStateAway(f"{where}: {exc or type(exc).__name__}") from exc


def without_secrets(url: str) -> str:
    """Return the URL of a Redis without user, password and options, for people to read."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
