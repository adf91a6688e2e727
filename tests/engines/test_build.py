from dataclasses import replace

import pytest

from llava_serve.config import CliConfig, WorkerConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.errors import CheckpointError


def test_the_echo_engine_takes_the_served_name() -> None:
    engine: Engine = build_engine(WorkerConfig(engine="echo", model_name="mirror"))
    assert (engine.card.id, engine.card.engine) == ("mirror", "echo")


@pytest.mark.parametrize("config", [WorkerConfig(), CliConfig()], ids=["worker", "terminal"])
def test_a_wrong_path_is_one_clear_error(config: WorkerConfig | CliConfig) -> None:
    with pytest.raises(CheckpointError, match="there is no folder /nowhere"):
        build_engine(replace(config, model_path="/nowhere"))
