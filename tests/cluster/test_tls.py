"""The cluster over TLS: registration, the call back, streams, and the page's link."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import openai
import pytest

from llava_serve.client import ChatClient
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.heartbeat import RegistrationClient
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import ControllerUntrusted, RegistrationRefused, RemoteError
from llava_serve.http.serving import served
from llava_serve.http.tls import Certificate, trust
from llava_serve.web.controller_link import ControllerLink
from tests.certificates import Certificates
from tests.cluster.conftest import TOKEN, EchoWorker, chat


@dataclass(frozen=True)
class SecureCluster:
    """A controller and a worker that speak TLS, not yet acquainted."""

    controller: str
    worker: EchoWorker
    ca_file: Path

    @asynccontextmanager
    async def link(
        self, controller: str | None = None, worker: str | None = None, ca_file: Path | None = None
    ) -> AsyncIterator[RegistrationClient]:
        """Yield the worker's link to the controller, at other addresses where they are given."""
        async with session(trust(ca_file or self.ca_file)) as http:
            yield RegistrationClient(
                http,
                controller or self.controller,
                worker or self.worker.address,
                TOKEN,
                lambda: self.worker.status,
            )


def session(trusted: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), trust_env=False)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SecureCluster]:
    certificates = Certificates.made(tmp_path)
    certificate = Certificate(*certificates.issue("chat.example.com"))
    worker = EchoWorker()
    app = build_app(
        Registry(shortest_queue),
        AdmissionPolicy(TOKEN),
        ControllerSettings(trust=trust(certificates.ca_file)),
    )
    async with (
        served(app, certificate=certificate) as controller,
        served(worker.app(), certificate=certificate) as worker.address,
    ):
        yield SecureCluster(controller, worker, certificates.ca_file)


def http_of(address: str) -> str:
    return address.replace("https://", "http://")


async def test_a_registered_worker_streams_to_the_openai_client(tmp_path: Path) -> None:
    certificates = Certificates.made(tmp_path)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    worker = EchoWorker()
    trusted = trust(certificates.ca_file)
    app = build_app(
        Registry(shortest_queue), AdmissionPolicy(TOKEN), ControllerSettings(trust=trusted)
    )
    async with (
        served(app, certificate=certificate) as controller,
        served(worker.app(), certificate=certificate) as worker.address,
        SecureCluster(controller, worker, certificates.ca_file).link() as link,
        openai.AsyncOpenAI(
            base_url=f"{controller}/v1",
            api_key="none",
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                verify=ssl.create_default_context(cafile=certificates.ca_file), trust_env=False
            ),
        ) as client,
    ):
        await link.register()
        assert await link.heartbeat()
        raw = client.chat.completions.with_streaming_response
        body = chat("one two three", stream=True)
        async with raw.create(**body) as answer:
            lines = [line async for line in answer.iter_lines() if line]
    assert lines == [
        'data: {"said": "one"}',
        'data: {"said": "two"}',
        'data: {"said": "three"}',
        "data: [DONE]",
    ]


async def test_a_client_that_leaves_a_stream_over_tls_stops_the_worker(
    cluster: SecureCluster,
) -> None:
    cluster.worker.may_go_on.clear()
    async with cluster.link() as link, session(trust(cluster.ca_file)) as http:
        await link.register()
        body = chat("one two", stream=True)
        url = f"{cluster.controller}/v1/chat/completions"
        async with http.post(url, json=body) as answer:
            assert await answer.content.readuntil(b"\n\n") == b'data: {"said": "one"}\n\n'
        cluster.worker.may_go_on.set()
        await asyncio.wait_for(cluster.worker.all_stopped.wait(), 30)


async def test_the_page_s_link_lists_the_models(cluster: SecureCluster) -> None:
    link = ControllerLink([cluster.controller], trust=trust(cluster.ca_file))
    is_asked = asyncio.Event()

    async def sleep(_: float) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    async with cluster.link() as worker, link.opened(sleep):
        await worker.register()
        await is_asked.wait()
        await link.poll()
    assert [card.id for card in link.cards] == ["echo"]


async def test_a_worker_that_trusts_nobody_is_told_of_the_flag(
    cluster: SecureCluster, tmp_path: Path
) -> None:
    other = Certificates.made(tmp_path / "other")
    async with cluster.link(ca_file=other.ca_file) as link:
        with pytest.raises(ControllerUntrusted, match="with --ca-file") as refused:
            await link.register()
    assert "Start it" not in refused.value.with_remedy


async def test_a_controller_without_the_authority_says_so_to_the_worker(tmp_path: Path) -> None:
    certificates = Certificates.made(tmp_path)
    certificate = Certificate(*certificates.issue("127.0.0.1"))
    worker = EchoWorker()
    app = build_app(Registry(shortest_queue), AdmissionPolicy(TOKEN))
    async with (
        served(app) as controller,
        served(worker.app(), certificate=certificate) as worker.address,
        SecureCluster(controller, worker, certificates.ca_file).link() as link,
    ):
        with pytest.raises(RegistrationRefused, match="with --ca-file"):
            await link.register()


async def test_http_where_the_controller_speaks_tls_is_named(cluster: SecureCluster) -> None:
    async with cluster.link(controller=http_of(cluster.controller)) as link:
        with pytest.raises(ControllerUntrusted, match=r"this port speaks TLS.*https://"):
            await link.register()


async def test_http_where_the_worker_speaks_tls_is_named(cluster: SecureCluster) -> None:
    async with cluster.link(worker=http_of(cluster.worker.address)) as link:
        with pytest.raises(RegistrationRefused, match=r"this port speaks TLS.*https://"):
            await link.register()


async def test_https_where_the_worker_speaks_plain_http_is_named(cluster: SecureCluster) -> None:
    plain = EchoWorker()
    async with (
        served(plain.app()) as address,
        cluster.link(worker=address.replace("http://", "https://")) as link,
    ):
        with pytest.raises(RegistrationRefused, match="so write http:// there"):
            await link.register()


async def test_a_program_of_ours_is_told_how_to_write_the_address(cluster: SecureCluster) -> None:
    async with session(trust(cluster.ca_file)) as http:
        with pytest.raises(RemoteError, match="this port speaks TLS") as refused:
            await ChatClient(http_of(cluster.controller), http).models()
    assert "https://" in refused.value.remedy


async def test_any_client_is_told_how_to_write_the_address(cluster: SecureCluster) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{http_of(cluster.controller)}/v1/models")
    assert answer.json()["error"]["code"] == "tls_expected"
