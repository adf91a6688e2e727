"""Checks of this machine find what is wrong with ports, folders, the token's file and proxies."""

import os
from pathlib import Path

import pytest

from llava_serve.cluster_token import make_token
from llava_serve.doctor import machine
from llava_serve.http import serving


def test_a_port_that_is_listened_on_is_a_problem_and_its_user_is_named() -> None:
    with serving.bind("127.0.0.1", 0) as used:
        (found,) = machine.check_ports("127.0.0.1", [used.getsockname()[1]])
    assert found.level == "problem"
    assert f"process {os.getpid()}" in found.message
    assert "--port" in found.remedy and "--controller" in found.remedy
    assert "while attempting" not in found.message


def test_a_free_port_is_ok() -> None:
    with serving.bind("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
    (found,) = machine.check_ports("127.0.0.1", [port])
    assert found.level == "ok"


def test_room_is_looked_for_where_a_folder_will_be(tmp_path: Path) -> None:
    later = tmp_path / "state" / "deep"
    assert machine.check_disk(later, scarce_bytes=1).level == "ok"
    assert machine.check_disk(later, scarce_bytes=10**18).level == "warning"
    assert machine.check_disk(later, 10**18, too_few_bytes=10**17).level == "problem"
    assert not later.exists()


def test_a_file_in_the_place_of_a_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert machine.check_disk(tmp_path / "state").level == "problem"
    assert machine.check_disk(tmp_path / "state" / "below").level == "problem"


def test_a_token_file_is_missed_only_where_it_is_needed(tmp_path: Path) -> None:
    assert machine.check_token_file(tmp_path / "token", is_needed=False).level == "ok"
    missing = machine.check_token_file(tmp_path / "token", is_needed=True)
    assert (missing.level, "Copy" in missing.remedy) == ("problem", True)
    assert not (tmp_path / "token").exists()


def test_a_token_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    make_token(tmp_path / "token")
    assert machine.check_token_file(tmp_path / "token", is_needed=True).level == "ok"
    (tmp_path / "token").chmod(0o640)
    found = machine.check_token_file(tmp_path / "token", is_needed=True)
    assert (found.level, "chmod 600" in found.remedy) == ("warning", True)


def test_a_file_without_a_token_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two words\n")
    assert machine.check_token_file(tmp_path / "token", is_needed=True).level == "problem"


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_proxy_in_the_environment_is_a_warning(no_proxies: pytest.MonkeyPatch) -> None:
    assert machine.check_proxies(["http://gpu1:10000"]).level == "ok"
    no_proxies.setenv("HTTP_PROXY", "http://proxy:3128")
    found = machine.check_proxies(["http://gpu1:10000"])
    assert (found.level, "gpu1" in found.remedy) == ("warning", True)


def test_a_proxy_that_leaves_out_the_stack_is_ok(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("https_proxy", "http://proxy:3128")
    no_proxies.setenv("no_proxy", "localhost,gpu1")
    assert machine.check_proxies(["http://gpu1:10000", "http://localhost:40000"]).level == "ok"
