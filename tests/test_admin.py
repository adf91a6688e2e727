"""The operators' command shows and changes what a real controller knows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response

from llava_serve import admin
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.http.serving import served
from llava_serve.http.tls import Certificate
from tests.certificates import Certificates
from tests.cluster.conftest import TOKEN, status_of

WORKER = "http://10.0.0.1:40000"


class Controller:
    """A controller with one worker, and the command that asks it."""

    def __init__(self, address: str, workers: Registry, token: Path) -> None:
        self.workers = workers
        self._flags = ["--controller", address, "--cluster-token-file", str(token)]

    async def run(self, *words: str) -> int:
        return await asyncio.to_thread(admin.main, [*words, *self._flags])


@pytest.fixture
async def controller(tmp_path: Path) -> AsyncIterator[Controller]:
    workers = Registry(shortest_queue)
    workers.register(WORKER, status_of("mine", "this-one", capacity=4), now=0.0, expires=False)
    (tmp_path / "token").write_text(TOKEN)
    async with served(build_app(workers, AdmissionPolicy(TOKEN))) as address:
        yield Controller(address, workers, tmp_path / "token")


Output = pytest.CaptureFixture[str]


async def test_workers_and_models_are_tables(controller: Controller, capsys: Output) -> None:
    assert await controller.run("workers") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["id", "address", "state"]
    assert row.split()[:3] == ["this-one", WORKER, "alive"]
    assert head.index("state") == row.index("alive")
    assert await controller.run("models") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["mine", "1", "1", "4", "0", "0"]


@pytest.mark.parametrize("named", [WORKER, "this-one"])
async def test_a_worker_is_drained_and_undrained_by_id_or_address(
    controller: Controller, named: str, capsys: Output
) -> None:
    assert await controller.run("drain", named) == 0
    assert capsys.readouterr().out.startswith(f"{named} gets nothing new")
    assert controller.workers.known()[0].is_draining
    assert await controller.run("undrain", named) == 0
    assert capsys.readouterr().out == f"{named} is in dispatch again\n"
    assert not controller.workers.known()[0].is_draining


async def test_a_worker_is_removed(controller: Controller, capsys: Output) -> None:
    assert await controller.run("remove", WORKER) == 0
    assert "joins again" in capsys.readouterr().out
    assert await controller.run("workers") == 0
    assert capsys.readouterr().out == "there are no workers\n"
    assert await controller.run("remove", WORKER) == 1
    assert "no worker has the id" in capsys.readouterr().err


async def test_a_bad_level_and_a_bad_token_say_what_to_do(
    controller: Controller, tmp_path: Path, capsys: Output
) -> None:
    assert await controller.run("log-level", "loud") == 1
    assert "debug" in capsys.readouterr().err
    (tmp_path / "token").write_text("another")
    assert await controller.run("workers") == 1
    said = capsys.readouterr().err
    assert "the role admin" in said and f"what {tmp_path / 'token'} holds" in said


async def test_a_controller_behind_tls_is_asked_with_its_authority(
    tmp_path: Path, capsys: Output
) -> None:
    made = Certificates.made(tmp_path)
    (tmp_path / "cluster-token").write_text(TOKEN)
    app = build_app(Registry(shortest_queue), AdmissionPolicy(TOKEN))
    async with served(app, certificate=Certificate(*made.issue("127.0.0.1"))) as address:
        words = ["workers", "--controller", address, "--state-dir", str(tmp_path)]
        trusting = [*words, "--ca-file", str(made.ca_file)]
        assert await asyncio.to_thread(admin.main, trusting) == 0
        assert await asyncio.to_thread(admin.main, words) == 1
    assert "--ca-file" in capsys.readouterr().err


def test_nobody_at_the_address_and_no_token_say_so(tmp_path: Path, capsys: Output) -> None:
    state = ["--state-dir", str(tmp_path)]
    assert admin.main(["workers", *state]) == 1
    said = capsys.readouterr().err
    assert "cannot be used as the cluster token" in said
    assert "--cluster-token-file" in said
    assert "--api-key-file" in said
    assert not any(tmp_path.iterdir())
    (tmp_path / "cluster-token").write_text(TOKEN)
    assert admin.main(["workers", *state, "--controller", "http://127.0.0.1:9"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["workers"], ["models"], ["drain", "w"]])
@pytest.mark.parametrize(
    "content", ["<html>", '{"a": 1}', "[1]", '[{"a": 1}, {"b": 1}]', '[{"a": 1}, {}]', "null", ""]
)
async def test_what_is_no_controller_is_named(
    tmp_path: Path, words: list[str], content: str, capsys: Output
) -> None:
    (tmp_path / "cluster-token").write_text(TOKEN)

    async def answer(request: Request, exc: Exception) -> Response:
        return Response(content)

    app = FastAPI(exception_handlers={404: answer})
    async with served(app) as address:
        flags = ["--controller", address, "--state-dir", str(tmp_path)]
        assert await asyncio.to_thread(admin.main, [*words, *flags]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{address} is not a controller of llava_serve: it answered 200 {content!r}" in said.err
    assert "--controller" in said.err


@pytest.mark.parametrize("words", [[], ["drain"], ["drain", "--controller"], ["sing"]])
def test_a_misspelt_command_shows_the_usage(words: list[str], capsys: Output) -> None:
    assert admin.main(words) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_is_no_failure(capsys: Output) -> None:
    assert admin.main(["--help"]) == 0
    assert "drain WORKER" in capsys.readouterr().out
