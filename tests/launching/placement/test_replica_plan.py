"""What a replica takes of a machine, and which settings reach it there."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from llava_serve import args
from llava_serve.config import WorkerConfig
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model
from llava_serve.launching.placement.options import PlacedModel, placed_models
from llava_serve.launching.placement.replica_plan import (
    Needs,
    ReplicaPlan,
    config_of,
    found_elsewhere,
)
from llava_serve.launching.plan import make_plan, replica_stages


def the_one(config: LaunchConfig) -> PlacedModel:
    (one,) = placed_models(config)
    return one


@pytest.mark.parametrize(
    ("spec", "device", "has_gpus", "needs"),
    [
        ("a/x", "auto", False, Needs(0, 1)),
        ("a/x", "auto", True, Needs(1, 1)),
        ("a/x", "cuda", False, Needs(1, 1)),
        ("a/x", "cpu", True, Needs(0, 1)),
        ("a/x:gpus=0.5:cpus=2", "auto", True, Needs(0.5, 2)),
    ],
)
def test_a_worker_takes_a_gpu_where_there_are_some(
    spec: str, device: str, has_gpus: bool, needs: Needs
) -> None:
    config = args.parse(LaunchConfig, ["--ray", "auto", "--model", spec, "--device", device])
    assert Needs.of(the_one(config), config, has_gpus) == needs


def test_an_sglang_server_takes_the_gpus_of_all_its_copies() -> None:
    config = LaunchConfig(ray="auto", sglang=("a/x:tp=4",), dp=2)
    assert Needs.of(the_one(config), config, has_gpus=True) == Needs(8, 1)
    assert Needs.of(the_one(config), config, has_gpus=False) == Needs(0, 1)
    config = LaunchConfig(ray="auto", sglang=("a/x",), tp=2)
    assert Needs.of(the_one(config), config, has_gpus=True) == Needs(2, 1)


def test_needs_are_told_in_words() -> None:
    assert str(Needs(2, 0.5)) == "2 GPU and 0.5 CPU"
    assert str(Needs(0, 0)) == "nothing"


def test_no_secret_of_controller_and_page_reaches_a_replica(tmp_path: Path) -> None:
    config = LaunchConfig(
        ray="auto",
        model=("a/x",),
        registry="redis://:hush@r",
        database="postgresql://u:hush@db",
        oidc_client_secret_file=tmp_path / "hush",
        oidc_client_id="hush",
        oidc_issuer="https://hush",
        oidc_allow="*",
    )
    own = config_of(the_one(config), config, Needs(0, 1))
    assert b"hush" not in pickle.dumps(own)
    assert own.device == "cpu"
    plan = ReplicaPlan("x", Model("a/x", None, "x"), Needs(0, 1), own, (), "", "hush", 0)
    assert "hush" not in repr(plan)


def test_certificates_are_looked_for_at_the_same_path_everywhere() -> None:
    config = LaunchConfig(ray="auto", tls_cert=Path("c.pem"), tls_key=Path("c.key"), model=("a/x",))
    own = config_of(the_one(config), config, Needs(1, 1))
    assert (own.tls_cert, own.tls_key) == (Path.cwd() / "c.pem", Path.cwd() / "c.key")
    assert (own.scheme, own.device) == ("https", "auto")


def test_a_folder_is_found_from_elsewhere_and_a_hub_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora").mkdir()
    found = found_elsewhere(Model("lora", "a/x", "tuned"))
    assert found == Model(str(tmp_path / "lora"), "a/x", "tuned")
    assert found_elsewhere(Model("a/x", "lora", "x")).base == str(tmp_path / "lora")


def test_a_replica_starts_the_command_that_its_worker_accepts(tmp_path: Path) -> None:
    config = LaunchConfig(ray="auto", model=("a/lora@a/x=tuned:replicas=2",), worker_port=41000)
    plan = make_plan(config, ["--engine", "echo"])
    assert (plan.workers, plan.servers, plan.model) == ((), (), "tuned")
    placed = the_one(config)
    own = replace(config_of(placed, config, Needs(0, 1)), state_dir=tmp_path)
    flags = ("--controller", "http://10.0.0.1:10000", *plan.worker_flags)
    ((worker,),) = replica_stages(own, placed.model, "10.0.0.2", flags)
    parsed = args.parse(WorkerConfig, worker.command[4:])
    assert parsed.worker_address == worker.address == "http://10.0.0.2:41000"
    assert (parsed.engine, parsed.model_name, parsed.device) == ("echo", "tuned", "cpu")
    assert (parsed.model_path, parsed.model_base) == ("a/lora", "a/x")
    assert (parsed.controller, parsed.state_dir) == (("http://10.0.0.1:10000",), tmp_path)


def test_a_replica_of_sglang_has_a_server_of_its_own_and_the_gpus_that_ray_gave_it(
    tmp_path: Path,
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    config = LaunchConfig(ray="auto", sglang=("a/x=big:tp=4",), sglang_python=str(python), dp=2)
    placed = the_one(config)
    own = replace(config_of(placed, config, Needs(8, 1)), worker_port=41003, sglang_port=31003)
    ((server,), (worker,)) = replica_stages(own, placed.model, "10.0.0.2", ())
    flags = dict(zip(server.command, server.command[1:], strict=False))
    assert (flags["--tp-size"], flags["--dp-size"], flags["--base-gpu-id"]) == ("4", "2", "0")
    assert (flags["--host"], flags["--served-model-name"]) == ("127.0.0.1", "big")
    parsed = args.parse(SglangWorkerConfig, worker.command[4:])
    assert parsed.sgl_endpoint == server.address == "http://127.0.0.1:31003"
    assert parsed.worker_address == "http://10.0.0.2:41003"


@pytest.mark.parametrize("line", ["--ray here", "--ray ray://h:1", "--ray :1", "--idle-after 3"])
def test_a_flag_of_ray_that_means_nothing_is_refused(line: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        args.parse(LaunchConfig, line.split())
    assert exit_.value.code == 2
