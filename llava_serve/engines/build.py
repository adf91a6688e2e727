"""Engine builder: model options become an engine; torch is imported only by those who need it."""

from typing import Literal

from llava_serve.config import ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import CommandError


def build_engine(
    options: ModelConfig, *, kind: Literal["torch", "echo"] = "torch", slots: int | None = None
) -> Engine:
    """Load what the options name; takes as long as loading the weights.

    `slots` is how many answers are made at once; None for as many as the memory has room for.

    Raises:
        CheckpointError: the checkpoint cannot be loaded as the options ask.
        CommandError: the installed packages do not fit together.
    """
    if kind == "echo":
        return EchoEngine(options.model_name or "echo")
    try:
        from llava_serve.checkpoints.load import load
        from llava_serve.engines.torch.budget import choose_budget
        from llava_serve.engines.torch.engine import TorchEngine
    except (ImportError, RuntimeError) as exc:  # the latter: torchvision for another torch
        raise _not_importable(exc) from exc

    loaded = load(options, options.conv_mode, slots or 1)
    budget = choose_budget(
        loaded,
        slots=slots,
        prefill_budget=options.prefill_chunk,
        kv_tokens=options.kv_cache_tokens,
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
