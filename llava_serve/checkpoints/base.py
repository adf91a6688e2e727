"""Which folder holds the whole model: the one that was given, or the base of an adapter."""

from pathlib import Path

from llava_serve.checkpoints.detect import Found, detect
from llava_serve.checkpoints.hub import folder_of
from llava_serve.checkpoints.settings import require_huggingface
from llava_serve.errors import CheckpointError


def is_original(given: Found, model_base: str | None) -> bool:
    """Say whether LLaVA's own layout is concerned; an adapter is of its base's layout."""
    if given.layout == "adapter" and model_base is not None:
        return detect(folder_of(model_base)).layout == "original"
    return given.layout == "original"


def whole_model(given: Found, model_base: str | None) -> Found:
    """Return the folder with the whole model in Hugging Face's layout.

    Raises:
        CheckpointError: an adapter has no base, a whole model was given one, or a value in a
            settings file cannot be used.
    """
    if given.layout == "adapter":
        if model_base is None:
            trained_on = given.config.get("base_model_name_or_path") or "an unnamed model"
            raise CheckpointError(needs_base(given.folder, "an adapter", trained_on))
        base = detect(folder_of(model_base))
        if base.layout == "adapter":
            raise CheckpointError(f"--model-base {model_base} is an adapter itself, not a model.")
        require_huggingface(base.folder, base.config)
        return base
    if model_base is not None:
        raise CheckpointError(
            f"{given.folder} is a whole model and needs no base: leave out --model-base."
        )
    require_huggingface(given.folder, given.config)
    return given


def needs_base(folder: Path, what: str, trained_on: str) -> str:
    """Say of a part of a model that it cannot stand alone, and of a base beside it where it is."""
    given = folder.resolve()
    beside = given.parent / Path(trained_on).name
    is_model = beside != given and (beside / "config.json").is_file()
    base = beside if is_model else trained_on
    return (
        f"{folder} is {what}, trained on {trained_on}: give --model-base {base}, or the folder "
        "where you keep that model (with launch: --model PATH@BASE)."
    )
