"""Settings become an engine; torch is imported only by those who need it."""

from llava_serve.config import CliConfig, WorkerConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine

_CLI_SLOTS = 1  # one person types one question at a time


def build_engine(config: WorkerConfig | CliConfig) -> Engine:
    """Load what the settings name; takes as long as loading the weights.

    Raises:
        CheckpointError: the checkpoint cannot be loaded as the flags ask.
    """
    if isinstance(config, WorkerConfig) and config.engine == "echo":
        return EchoEngine(config.model_name or "echo")
    from llava_serve.checkpoints.load import load
    from llava_serve.engines.torch.engine import TorchEngine

    slots = config.limit_model_concurrency if isinstance(config, WorkerConfig) else _CLI_SLOTS
    return TorchEngine(load(config, config.conv_mode), slots=slots)
