"""Units of systemd: command lines, users, times to end and hardening; systemd takes them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llava_serve import args, config
from llava_serve.http.serving import GRACE_S
from llava_serve.http.stopping import FINAL_WRITE_S
from tests.deploy.deploy_files import FOLDER, env_file, parsed

UNITS = FOLDER / "systemd"
PYTHON = "/opt/llava_serve/.venv/bin/python"


def _unit(name: str) -> dict[str, list[str]]:
    """The settings of a unit's [Service]; one may stand there several times."""
    text = (UNITS / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.partition("[Service]")[2].partition("\n[")[0].splitlines():
        if line and not line.startswith("#"):
            key, sign, value = line.partition("=")
            assert sign, line
            found.setdefault(key, []).append(value)
    return found


UNIT_NAMES = {
    "llava-controller.service": config.ControllerConfig,
    "llava-page.service": config.WebConfig,
    "llava-worker@.service": config.WorkerConfig,
}


def _started(unit: dict[str, list[str]], **changed: str) -> Any:
    """Parse the ExecStart of an instance 40001; `$NAME` alone is split into words."""
    (command,) = unit["ExecStart"]
    assert command.startswith(f"{PYTHON} -m ")
    (state,) = unit["StateDirectory"]
    values = env_file(UNITS / "llava.env") | changed
    values |= {"STATE_DIRECTORY": f"/var/lib/{state}", "CREDENTIALS_DIRECTORY": "/run/credentials"}
    words = re.sub(r"\$([A-Z_]+)", lambda name: values[name[1]], command)
    words = re.sub(r"\$\{([A-Z_]+)\}", lambda name: values[name[1]], words)
    return parsed(words.replace("%i", "40001"))


def test_every_unit_is_known_to_these_tests() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == UNIT_NAMES.keys()


@pytest.mark.parametrize(("name", "kind"), UNIT_NAMES.items())
def test_a_unit_starts_its_process_as_nobody_and_lets_it_end(name: str, kind: type[Any]) -> None:
    unit = _unit(name)
    started = _started(unit)
    assert type(started) is kind
    token = started.api_key_file if kind is config.WebConfig else started.cluster_token_file
    assert token == Path("/run/credentials/cluster-token")
    assert unit["LoadCredential"] == ["cluster-token:/etc/llava_serve/cluster-token"]
    assert unit["EnvironmentFile"][0] == "/etc/llava_serve/llava.env"
    assert unit["User"] == ["llava"]
    assert unit["KillSignal"] == ["SIGTERM"]
    assert int(unit["TimeoutStopSec"][0]) > GRACE_S + FINAL_WRITE_S
    assert unit["Restart"] == ["always"]


def test_flags_and_controllers_of_the_units_are_split() -> None:
    worker = _started(
        _unit("llava-worker@.service"),
        CONTROLLERS="http://A:10000,http://B:10000",
        WORKER_FLAGS="--model-path there --load-4bit",
        WORKER_HOST="gpu-1",
    )
    assert args.addresses_of(worker.controller) == ("http://A:10000", "http://B:10000")
    assert (worker.model_path, worker.load_4bit) == ("there", True)
    assert (worker.port, worker.worker_address) == (40001, "http://gpu-1:40001")


def test_units_are_hardened() -> None:
    hardening = _unit("llava-.service.d/hardening.conf")
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"):
        assert hardening[name] == ["yes"]
    assert hardening["ProtectSystem"] == ["strict"]
    assert hardening["CapabilityBoundingSet"] == [""]
    for name in UNIT_NAMES:
        assert hardening.keys().isdisjoint(_unit(name))
        assert name.startswith("llava-")  # which is how systemd finds hardening.conf


@pytest.mark.slow
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program is not None, "scripts/get_services.sh installs systemd-analyze"
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*.service"):  # the program must be there
        path.write_text(path.read_text(encoding="utf-8").replace(PYTHON, sys.executable))
    instances = [name.replace("@", "@40001") for name in UNIT_NAMES]
    done = subprocess.run(
        [program, "verify", *instances],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
