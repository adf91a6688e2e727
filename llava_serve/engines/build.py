"""Settings become an engine; torch is imported only by those who need it."""

from llava_serve.config import WorkerConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import CommandError
from llava_serve.terminal.config import CliConfig

_CLI_SLOTS = 1  # one person types one question at a time


def build_engine(config: WorkerConfig | CliConfig) -> Engine:
    """Load what the settings name; takes as long as loading the weights.

    Raises:
        CheckpointError: the checkpoint cannot be loaded as the flags ask.
        CommandError: the installed packages do not fit together.
    """
    if isinstance(config, WorkerConfig) and config.engine == "echo":
        return EchoEngine(config.model_name or "echo")
    try:
        from llava_serve.checkpoints.load import load
        from llava_serve.engines.torch.budget import choose_budget
        from llava_serve.engines.torch.engine import TorchEngine
    except (ImportError, RuntimeError) as exc:  # the latter: torchvision for another torch
        raise _not_importable(exc) from exc

    slots = config.limit_model_concurrency if isinstance(config, WorkerConfig) else _CLI_SLOTS
    loaded = load(config, config.conv_mode, slots or 1)
    budget = choose_budget(
        loaded,
        slots=slots,
        chunk=config.prefill_chunk,
        kv_tokens=config.kv_cache_tokens,
    )
    return TorchEngine(loaded, budget)


def _not_importable(error: BaseException) -> CommandError:
    while error.__cause__ is not None:  # transformers hides what went wrong behind its own error
        error = error.__cause__
    remedy = "Install the versions that this package asks for."
    if "torchvision" in str(error):
        remedy = (
            "The installed torchvision was built for another PyTorch, and none is needed: "
            "run `pip uninstall torchvision`."
        )
    return CommandError(f"the model code cannot be imported: {error}", remedy)
