"""The command writes a line for each check and exits with 1 on a problem."""

import json
from pathlib import Path

import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.doctor.__main__ import DoctorConfig, findings, main
from llava_serve.http import serving
from llava_serve.http.serving import served
from llava_serve.http.tls import Certificate
from tests.certificates import Certificates
from tests.cluster.conftest import TOKEN


def test_a_machine_in_order_exits_with_0(
    tmp_path: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--state-dir", str(tmp_path), "--port", str(unused_tcp_port)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["ok", "port"]
    assert any(line.split()[1] == "torch" for line in lines)


def test_a_problem_exits_with_1_and_says_what_to_do_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving.bind("127.0.0.1", 0) as used:
        port = str(used.getsockname()[1])
        assert main(["--state-dir", str(tmp_path), "--port", port, "--json"]) == 1
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["check"], first["level"]) == ("port", "problem")
    assert first["remedy"]


async def test_a_broken_token_file_does_not_end_the_checks(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    (tmp_path / "cluster-token").write_text("two words")
    config = DoctorConfig(
        controller=f"http://127.0.0.1:{unused_tcp_port}",
        worker="http://localhost:40000",
        state_dir=tmp_path,
    )
    found = {each.check: each async for each in findings(config)}
    assert found["token file"].level == "problem"
    assert found["controller"].level == "problem"
    assert "port" not in found  # the controller uses one of them


def test_the_ports_of_all_commands_are_tried_by_default() -> None:
    assert DoctorConfig().ports == (10000, 40000, 7860)


@pytest.mark.parametrize("flags", [["--port", "70000"], ["--controller", "localhost:10000"]])
def test_a_bad_flag_exits_with_2(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(flags)
    assert raised.value.code == 2


async def test_a_controller_behind_tls_is_looked_at_with_its_authority(tmp_path: Path) -> None:
    made = Certificates.made(tmp_path)
    certificate = Certificate(*made.issue("127.0.0.1"))
    app = build_app(Registry(shortest_queue), AdmissionPolicy(TOKEN))
    async with served(app, certificate=certificate) as address:
        for ca_file, level in ((made.ca_file, "ok"), (None, "problem"), (tmp_path, "problem")):
            config = DoctorConfig(controller=address, state_dir=tmp_path, ca_file=ca_file)
            found = [each async for each in findings(config) if each.check == "controller"]
            assert [each.level for each in found] == [level]
