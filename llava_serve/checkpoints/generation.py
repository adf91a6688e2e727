"""How a checkpoint wants its answers sampled and ended: as its own file says, or by default."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from llava_serve.checkpoints.settings import usable


def generation_config(folder: Path, text: Any) -> GenerationConfig:
    """Read generation_config.json in `folder`, or derive it from `text`, the language model's.

    Raises:
        CheckpointError: transformers refuses a value in it.
    """
    if (path := folder / "generation_config.json").exists():
        with usable(path):
            return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(text)
