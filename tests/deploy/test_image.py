"""Container file: what it copies and installs is there, it has no root, its health check works."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.deploy.deploy_files import (
    FOLDER,
    ROOT,
    instructions,
    parsed,
    values_of,
)


def test_the_image_copies_what_is_there_and_let_through() -> None:
    copied = [rest.split()[:-1] for rest in values_of("COPY") if not rest.startswith("--from")]
    paths = [path for paths in copied for path in paths]
    let_through = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_through[0] == "*"
    assert {f"!{path}" for path in paths} == {one for one in let_through if one.startswith("!")}
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_image_has_no_root_and_names_no_registry() -> None:
    names = [name for name, _ in instructions()]
    assert values_of("FROM") == ["python:3.11-slim AS build", "python:3.11-slim"]
    assert values_of("USER") == ["10001"]
    assert "RUN" not in names[names.index("USER") :]
    text = " ".join(rest for _, rest in instructions())
    assert set(re.findall(r"https?://[^/\s]+", text)) == {"http://127.0.0.1:10000"}
    assert {"DEVICE=cpu", "PIP_INDEX_URL", "TORCH_INDEX_URL"} == set(values_of("ARG"))


def test_the_image_installs_extras_that_exist() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    extras = re.findall(r"extras=([a-z,]+)", " ".join(values_of("RUN")))
    assert len(extras) == 2
    for extra in ",".join(extras).split(","):
        assert f"\n{extra} =\n" in setup


def test_the_image_starts_a_controller_by_default() -> None:
    (command,) = values_of("CMD")
    assert parsed(shlex.join(json.loads(command))).host == "0.0.0.0"


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "is_healthy"), [("/health", True), ("/ill", False)])
def test_the_health_check_tells_well_from_ill(address: str, path: str, is_healthy: bool) -> None:
    (check,) = values_of("HEALTHCHECK")
    _, option, code = json.loads(check.partition(" CMD ")[2])
    changed = {"HEALTH_URL": address + path, "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, option, code], env=os.environ | changed, capture_output=True, check=False
    )
    assert (done.returncode == 0) == is_healthy
