import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llava_serve.config import WorkerConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.errors import CheckpointError
from llava_serve.terminal.config import CliConfig


def test_the_echo_engine_takes_the_served_name() -> None:
    engine: Engine = build_engine(WorkerConfig(model_name="mirror"), kind="echo")
    assert (engine.card.id, engine.card.engine) == ("mirror", "echo")


@pytest.mark.parametrize("config", [WorkerConfig(), CliConfig()], ids=["worker", "terminal"])
def test_a_wrong_path_is_one_clear_error(config: WorkerConfig | CliConfig) -> None:
    with pytest.raises(CheckpointError, match="there is no folder /nowhere"):
        build_engine(replace(config, model_path="/nowhere"))


@pytest.mark.slow
def test_a_torchvision_for_another_torch_is_named_with_its_remedy(tmp_path: Path) -> None:
    broken = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(broken, encoding="utf-8")
    metadata = tmp_path / "torchvision-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Name: torchvision\nVersion: 0.1\n", encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-m", "llava_serve.cli"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert "operator torchvision::nms does not exist" in told.stderr
    assert "pip uninstall torchvision" in told.stderr
    assert "Traceback" not in told.stderr
