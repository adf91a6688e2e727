"""The command: it starts at once, stops at once, and its failures are one sentence."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from llava_serve.args import parse
from llava_serve.config import WebConfig
from llava_serve.gradio_web_server import hosts_of, remote_media_of
from tests.ports import free_port

COMMAND = [sys.executable, "-m", "llava_serve.gradio_web_server"]


@contextmanager
def started(*flags: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen([*COMMAND, *flags], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_sigterm_ends_it_although_a_browser_is_connected(tmp_path: Path) -> None:
    port = free_port()
    with started("--port", str(port), "--state-dir", str(tmp_path)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "startup complete" in line:
                break
        url = f"http://127.0.0.1:{port}"
        assert requests.get(f"{url}/health", timeout=60).json()["status"] == "ok"
        # What every open browser tab holds for as long as it is open.
        with requests.get(f"{url}/gradio_api/heartbeat/s", stream=True, timeout=60) as beat:
            assert next(beat.iter_lines()) == b"data: ALIVE"
            process.send_signal(signal.SIGTERM)
            log = process.stderr.read()
        assert process.wait() in (0, -signal.SIGTERM)
        assert "Traceback" not in log
        assert "exceeded" not in log  # uvicorn's word for having waited out its grace period


@pytest.mark.slow
def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_database_that_cannot_be_opened_is_one_clear_sentence(tmp_path: Path) -> None:
    done = run("--port", "41999", "--database", "nonsense", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert "the database refused" in done.stderr and "--database" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_is_used_for_nothing_is_refused() -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(WebConfig, ["--moderation-key-file", "key"])
    assert exit_.value.code == 2


def test_the_name_of_the_public_address_is_served_and_its_origin_may_ask() -> None:
    hosts = hosts_of(parse(WebConfig, ["--public-address", "https://chat.example.com:8443/"]))
    assert hosts.serves("chat.example.com:8443") and hosts.allows("chat.example.com")
    assert not hosts.serves("example.com")
    assert not hosts_of(parse(WebConfig, [])).serves("chat.example.com")


def test_web_addresses_are_fetched_only_where_the_operator_allows_it() -> None:
    assert remote_media_of(parse(WebConfig, [])) is None
    assert remote_media_of(parse(WebConfig, ["--allow-remote-media"])) is not None
