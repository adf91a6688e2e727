"""Certificates: what is wrong with one is said, and a renewed one is used."""

import asyncio
import io
import json
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from fastapi import FastAPI, Request

from llava_serve.config import ControllerConfig
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.http.body import BodyLimits
from llava_serve.http.client_error import reason_of
from llava_serve.http.connections import ConnectionLimits
from llava_serve.http.tls import Certificate, Tls, trust
from llava_serve.tls_config import TlsConfig
from tests.certificates import Certificates

ROOMY = ConnectionLimits(total=100, per_address=100)
REQUEST = b"GET /size HTTP/1.1\r\nHost: app\r\n\r\n"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.made(tmp_path)


def app() -> FastAPI:
    app = FastAPI()
    serving.prepare(app, BodyLimits(50_000_000, 50_000_000))

    @app.get("/scheme")
    async def scheme(request: Request) -> str:
        return request.url.scheme

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/zeros")
    async def zeros(count: int) -> str:
        return "0" * count

    return app


def session(ca_file: Path | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust(ca_file)), trust_env=False
    )


async def test_a_request_over_tls_is_answered_and_its_scheme_known(
    certificates: Certificates,
) -> None:
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with (
        serving.served(app(), certificate=certificate) as address,
        session(certificates.ca_file) as client,
    ):
        assert address.startswith("https://127.0.0.1:")
        async with client.get(f"{address}/scheme") as answer:
            assert await answer.json() == "https"


async def test_bodies_and_answers_of_many_records_arrive_whole(certificates: Certificates) -> None:
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with (
        serving.served(app(), certificate=certificate) as address,
        session(certificates.ca_file) as client,
    ):

        async def ask(number: int) -> None:
            count = 1_000_003 * number
            async with client.post(f"{address}/size", data=io.BytesIO(b"1" * count)) as answer:
                assert await answer.json() == count
            async with client.get(f"{address}/zeros?count={count}") as answer:
                assert await answer.json() == "0" * count

        await asyncio.gather(*map(ask, range(8)))


async def test_a_request_without_tls_is_told_so(certificates: Certificates) -> None:
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with serving.served(app(), certificate=certificate) as address, session(None) as client:
        plain = address.replace("https://", "http://")
        async with client.post(f"{plain}/size", data=io.BytesIO(b"1" * 5_000_000)) as answer:
            error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (400, "tls_expected")
    assert "https://" in error["remedy"]


async def test_a_call_over_tls_to_a_plain_port_says_so() -> None:
    async with serving.served(app()) as address, session(None) as client:
        with pytest.raises(aiohttp.ClientError) as refused:
            await client.get(address.replace("http://", "https://"))
    assert reason_of(refused.value).endswith("so write http:// there")


async def test_a_certificate_that_is_not_trusted_names_the_flag(certificates: Certificates) -> None:
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with serving.served(app(), certificate=certificate) as address, session(None) as client:
        with pytest.raises(aiohttp.ClientError) as refused:
            await client.get(address)
    assert reason_of(refused.value).endswith("with --ca-file")


async def test_a_certificate_that_has_expired_says_so(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    past = datetime(2001, 2, 3, tzinfo=UTC)
    certificate = Certificate(*certificates.issue("127.0.0.1", until=past))
    assert "to 2001-02-03, and so not today" in caplog.text
    async with (
        serving.served(app(), certificate=certificate) as address,
        session(certificates.ca_file) as client,
    ):
        with pytest.raises(aiohttp.ClientError) as refused:
            await client.get(address)
    assert reason_of(refused.value) == "its certificate has expired"


async def shaken(ca_file: Path, certificate: Certificate, name: str) -> ssl.SSLObject:
    """Shake hands with `certificate` as a client that asks for the server `name`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust(ca_file).wrap_bio(to_client, to_server, server_hostname=name)
    server = certificate.content().wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client


async def test_a_name_is_checked_but_on_loopback(certificates: Certificates) -> None:
    certificate = Certificate(*certificates.issue("chat.example.com"))
    for name in ("chat.example.com", "localhost", "127.0.0.1", "::1"):
        found = await shaken(certificates.ca_file, certificate, name)
        assert found.getpeercert() is not None
    for name in ("other.example.com", "192.0.2.1"):
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
            await shaken(certificates.ca_file, certificate, name)


async def test_on_loopback_the_authority_is_checked_all_the_same(
    certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates.made(tmp_path / "other")
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await shaken(other.ca_file, certificate, "127.0.0.1")


async def test_a_renewed_certificate_is_used_from_the_next_connection_on(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificate = Certificate(*certificates.issue("one.example.com"))
    first = certificate.content()
    assert certificate.content() is first
    fresh = certificates.issue("two.example.com", file="fresh")
    fresh[0].rename(certificates.folder / "server.pem")
    assert certificate.content() is first, "the key is still the earlier one"
    assert "changed and is not used yet" in caplog.text
    fresh[1].rename(certificates.folder / "server.key")
    await shaken(certificates.ca_file, certificate, "two.example.com")
    assert "was read again" in caplog.text


async def test_a_certificate_whose_files_are_gone_stays_in_use(certificates: Certificates) -> None:
    files = certificates.issue("one.example.com")
    certificate = Certificate(*files)
    files[0].unlink()
    await shaken(certificates.ca_file, certificate, "one.example.com")


@dataclass(frozen=True)
class Unusable:
    spoil: Callable[[Path, Path], object]
    told: str


def _encrypt(certificate: Path, key: Path) -> None:
    read = load_pem_private_key(key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    key.write_bytes(read.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def _swap(certificate: Path, key: Path) -> None:
    content = certificate.read_bytes()
    certificate.write_bytes(key.read_bytes())
    key.write_bytes(content)


@pytest.mark.parametrize(
    "case",
    [
        Unusable(lambda certificate, _: certificate.unlink(), "--tls-cert .* cannot be read: No"),
        Unusable(lambda _, key: key.unlink(), "--tls-key .* cannot be read: No such file"),
        Unusable(_encrypt, "--tls-key .* is encrypted"),
        Unusable(_swap, "cannot be used"),
        Unusable(lambda certificate, _: certificate.write_text("none"), "cannot be used"),
        Unusable(lambda _, key: key.write_text("none"), "cannot be used"),
    ],
)
def test_files_that_cannot_be_used_are_told_at_the_start(
    certificates: Certificates, case: Unusable
) -> None:
    certificate, key = certificates.issue("127.0.0.1")
    case.spoil(certificate, key)
    with pytest.raises(CommandError, match=case.told):
        Tls.of(TlsConfig(tls_cert=certificate, tls_key=key))


def test_the_key_of_another_certificate_is_refused(certificates: Certificates) -> None:
    certificate, _ = certificates.issue("127.0.0.1")
    _, key = certificates.issue("127.0.0.1", file="other")
    with pytest.raises(CommandError, match="is not the key of the certificate"):
        Tls.of(TlsConfig(tls_cert=certificate, tls_key=key))


@pytest.mark.parametrize("content", [None, "none", ""])
def test_a_file_of_authorities_without_any_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match="--ca-file"):
        trust(file)


def test_a_command_ends_with_the_reason(tmp_path: Path) -> None:
    config = ControllerConfig(tls_cert=tmp_path / "none.pem", tls_key=tmp_path / "none.key")
    with pytest.raises(SystemExit, match=r"none\.pem cannot be read"):
        Tls.of_or_exit(config)


def test_certificate_and_key_go_together() -> None:
    with pytest.raises(ValueError, match="together"):
        ControllerConfig(tls_cert=Path("server.pem"))


async def test_an_answer_over_tls_that_is_read_on_is_whole(certificates: Certificates) -> None:
    size = 12_000_000
    limits = ConnectionLimits(total=100, per_address=100, unread_s=0.3)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with (
        serving.served(app(), limits=limits, certificate=certificate) as address,
        session(certificates.ca_file) as client,
        client.get(f"{address}/zeros?count={size}") as answer,
    ):
        taken = b""
        for _ in range(10):  # several times as long as nothing of it may be taken
            taken += await answer.content.readexactly(size // 20)
            await asyncio.sleep(0.08)
        taken += await answer.content.read()
        assert taken.strip(b'"') == b"0" * size


async def connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))


HELLO = bytes.fromhex("1603010200010001fc")  # the beginning of one


@pytest.mark.parametrize("sent", [b"", HELLO])
async def test_a_client_that_never_ends_its_handshake_is_closed(
    certificates: Certificates, sent: bytes
) -> None:
    limits = ConnectionLimits(total=100, per_address=100, header_s=0.05)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with serving.served(app(), limits=limits, certificate=certificate) as address:
        reader, writer = await connected(address)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_connections_without_a_handshake_give_way_to_new_ones(
    certificates: Certificates,
) -> None:
    limits = ConnectionLimits(total=4, per_address=4)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with (
        serving.served(app(), limits=limits, certificate=certificate) as address,
        session(certificates.ca_file) as client,
    ):
        silent = [await connected(address) for _ in range(4)]
        async with client.get(f"{address}/scheme") as answer:
            assert answer.status == 200
        assert await asyncio.wait_for(silent[0][0].read(), 30) == b""
        for _, writer in silent:
            writer.close()


async def test_half_a_head_over_tls_is_answered_with_408(certificates: Certificates) -> None:
    limits = ConnectionLimits(total=100, per_address=100, header_s=0.5)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    async with serving.served(app(), limits=limits, certificate=certificate) as address:
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust(certificates.ca_file)
        )
        writer.write(b"GET /size HTTP/1.1\r\nHost:")
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_timeout"
        writer.close()
