"""Which SGLang servers a launch lays out, and what it says where there can be none."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llava_serve import args
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.errors import CommandError
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.plan import Process, make_plan


@pytest.fixture
def with_gpu(tmp_path: Path) -> LaunchConfig:
    """Two models, and an interpreter that says yes to everything it is asked."""
    return LaunchConfig(sglang=("a/x", "a/y=why"), sglang_python=_interpreter(tmp_path, 0))


def _interpreter(folder: Path, code: int) -> str:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\nexit {code}\n")
    python.chmod(0o755)
    return str(python)


def _value(process: Process, flag: str) -> str:
    return process.command[process.command.index(flag) + 1]


def test_each_model_gets_a_server_on_loopback_and_a_worker_that_asks_it(
    with_gpu: LaunchConfig,
) -> None:
    plan = make_plan(with_gpu)
    assert [server.address for server in plan.servers] == [
        "http://127.0.0.1:30000",
        "http://127.0.0.1:30001",
    ]
    assert plan.stages[1:3] == (plan.servers, plan.workers)
    for server, worker, model in zip(plan.servers, plan.workers, ("x", "why"), strict=True):
        assert _value(server, "--host") == "127.0.0.1"
        assert server.model is None
        config = args.parse(SglangWorkerConfig, worker.command[4:])
        assert (config.sgl_endpoint, config.model_name) == (server.address, model)
        assert (worker.model, worker.depends_on) == (model, server.address)
    assert {"--sglang-port", "--worker-port"} < {port.flag for port in plan.ports}


def test_each_server_has_gpus_of_its_own(with_gpu: LaunchConfig) -> None:
    plan = make_plan(replace(with_gpu, tp=2, dp=2))
    assert [_value(server, "--base-gpu-id") for server in plan.servers] == ["0", "4"]
    assert [_value(server, "--tp-size") for server in plan.servers] == ["2", "2"]


def test_without_a_gpu_sglang_runs_on_the_cpu(with_gpu: LaunchConfig) -> None:
    (server, _) = make_plan(replace(with_gpu, device="cpu")).servers
    assert _value(server, "--device") == "cpu"
    assert "--base-gpu-id" not in server.command


def test_the_operators_flags_for_sglang_stand_last(with_gpu: LaunchConfig) -> None:
    flags = "--chat-template 'my template'"
    (server, _) = make_plan(replace(with_gpu, sglang_flags=flags)).servers
    assert server.command[-2:] == ("--chat-template", "my template")


@pytest.mark.parametrize("flag", ["--host 0.0.0.0", "--port=1", "--tp 2"])
def test_a_flag_for_sglang_that_launch_sets_is_refused(with_gpu: LaunchConfig, flag: str) -> None:
    with pytest.raises(CommandError, match=r"--sglang-flags: --(host|port=1|tp) is one"):
        make_plan(replace(with_gpu, sglang_flags=flag))


def test_an_interpreter_without_sglang_is_refused_with_the_way_out(tmp_path: Path) -> None:
    config = LaunchConfig(sglang=("a/x",))
    with pytest.raises(CommandError, match="has no sglang") as refused:
        make_plan(replace(config, sglang_python=_interpreter(tmp_path, 1)))
    assert "--sglang-python" in refused.value.remedy
    with pytest.raises(CommandError, match="cannot run nothing-here"):
        make_plan(replace(config, sglang_python="nothing-here"))
    with pytest.raises(CommandError, match=f"{sys.executable} has no sglang"):
        make_plan(config)


@pytest.mark.parametrize(
    "line",
    [
        "--tp 2",
        "--sglang-flags=--x",
        "--sglang a/x --tp 0",
        '--sglang a/x --sglang-flags="\'"',
        "--sglang a/x --device mps",
    ],
)
def test_a_contradiction_is_refused(line: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        args.parse(LaunchConfig, line.replace('"', "").split())
    assert exit_.value.code == 2


def test_worker_flags_are_checked_against_the_workers_there_are(
    with_gpu: LaunchConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plan(with_gpu, ["--max-images", "3"])
    with pytest.raises(SystemExit):
        make_plan(with_gpu, ["--engine", "echo"])
    assert "--engine" in capsys.readouterr().err
