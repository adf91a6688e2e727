"""Who reaches the controller from the machines of a cluster, and what a launch lacks."""

import sys

import pytest

from llava_serve import launch
from llava_serve.errors import CommandError
from llava_serve.launching.placement.machines import controller_host
from tests.ports import free_port

ELSEWHERE = "198.51.100.7"


@pytest.mark.parametrize(
    ("host", "ips", "reached_at"),
    [
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("0.0.0.0", [ELSEWHERE], "127.0.0.1"),
        ("198.51.100.8", [ELSEWHERE], "198.51.100.8"),
    ],
)
def test_machines_reach_the_controller_where_it_listens(
    host: str, ips: list[str], reached_at: str
) -> None:
    assert controller_host(host, ips, "127.0.0.1") == reached_at


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_controller_that_other_machines_cannot_reach_is_refused(host: str) -> None:
    with pytest.raises(CommandError, match=f"--host {host}: .*{ELSEWHERE}") as refused:
        controller_host(host, ["127.0.0.1", ELSEWHERE], "127.0.0.1")
    assert "--host 0.0.0.0" in refused.value.remedy


@pytest.mark.parametrize(
    "line", ["--ray auto --no-web --controller-port PORT", "status --ray auto"]
)
def test_without_ray_the_way_to_install_it_is_said(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert launch.main(line.replace("PORT", str(free_port())).split()) == 2
    assert capsys.readouterr().err == (
        '--ray: Ray is not installed\nInstall it: pip install -e ".[ray]".\n'
    )
