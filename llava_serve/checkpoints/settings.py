"""What the settings files of a checkpoint may say: a wrong value is named before it is used."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llava_serve.checkpoints.detect import read_json
from llava_serve.errors import CheckpointError

_SHOWN = 60  # characters of a wrong value
REMEDY = "Correct it there, or download that file again."


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value must be: in words, and as a test of it."""

    words: str
    holds: Callable[[Any], bool]


Kinds = Mapping[str, Kind]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_count, value))


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_rope(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    name = value.get("type", value.get("rope_type"))
    return not value or (
        name in ["default", *ROPE_INIT_FUNCTIONS]
        and all(map(_is_number, (value[key] for key in ("factor", "rope_theta") if key in value)))
    )


COUNT = Kind("a whole number above 0", is_count)
WHOLE = Kind("a whole number", _is_whole)
NUMBER = Kind("a number", _is_number)
POSITIVE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str) and bool(value))
NAMES = Kind("a list of names", _list_of(lambda value: isinstance(value, str)))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
ROPE = Kind("an object with a type that transformers knows and its numbers", _is_rope)
TOKENS = Kind(
    "the number of a token, or a list of such", lambda value: all(map(_is_whole, _several(value)))
)
ACTIVATION = Kind(
    "the name of an activation function of transformers", lambda value: value in list(ACT2FN)
)
CHANNELS = Kind(
    "three numbers",
    lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_number, value)),
)
SIZES = Kind("a list of [height, width] in pixels", _list_of(is_pair))

# What describes a tower or a language model, wherever it stands.
SHAPE: Kinds = {
    "hidden_size": COUNT,
    "intermediate_size": COUNT,
    "num_hidden_layers": COUNT,
    "num_attention_heads": COUNT,
    "num_key_value_heads": COUNT,
    "head_dim": COUNT,
    "hidden_act": ACTIVATION,
    "max_position_embeddings": COUNT,
    "rope_theta": POSITIVE,
    "rope_scaling": OBJECT,
    "image_size": COUNT,
    "patch_size": COUNT,
}
HUGGINGFACE: Kinds = {
    "text_config": OBJECT,
    "vision_config": OBJECT,
    "image_token_id": WHOLE,
    "image_token_index": WHOLE,
    "image_grid_pinpoints": SIZES,
}
PIXELS: Kinds = {"image_mean": CHANNELS, "image_std": CHANNELS, "image_grid_pinpoints": SIZES}
_FILES: Mapping[str, Kinds] = {
    "generation_config.json": {
        "eos_token_id": TOKENS,
        "do_sample": FLAG,
        "temperature": NUMBER,
        "top_p": NUMBER,
        "top_k": WHOLE,
        "repetition_penalty": POSITIVE,
        "max_new_tokens": COUNT,
    },
    "preprocessor_config.json": PIXELS,
    "video_preprocessor_config.json": PIXELS,
    "processor_config.json": {},
    "chat_template.json": {},
    "tokenizer_config.json": {},
    "tokenizer.json": {},
    "added_tokens.json": {},
    "special_tokens_map.json": {},
}


def require(path: Path, content: Mapping[str, Any], kinds: Kinds, within: str = "") -> None:
    """See that each value of `content` that is there is of its kind.

    `path` is the file it comes from, and `within` the keys that lead to it there.

    Raises:
        CheckpointError: one is not; the message has the file, the key and the value.
    """
    for key, kind in kinds.items():
        value = content.get(key)
        if value is not None and not kind.holds(value):
            raise CheckpointError(
                f"{path} says {within}{key} {shown(value)}, which must be {kind.words}. {REMEDY}"
            )


def require_there(path: Path, content: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """See that `content` of the file `path` has all `keys`.

    Raises:
        CheckpointError: one is missing or null.
    """
    if missing := [key for key in keys if content.get(key) is None]:
        raise CheckpointError(
            f"{path} has no {', '.join(missing)}. Add what the model was trained with, or download "
            "that file again."
        )


def require_files(folder: Path) -> None:
    """See that the files beside config.json say what can be used.

    Raises:
        CheckpointError: one is no JSON object, or has a value of another kind.
    """
    for name, kinds in _FILES.items():
        if (path := folder / name).exists():
            require(path, read_json(path), kinds)


def require_huggingface(folder: Path, config: Mapping[str, Any]) -> None:
    """See that `config`, the config.json of a whole model in Hugging Face's layout, can be used.

    Raises:
        CheckpointError: a value in it, or in a file beside it, is of another kind.
    """
    path = folder / "config.json"
    require(path, config, HUGGINGFACE)
    require_there(path, config, tuple({"image_token_id", "image_token_index"} & {*config}))
    for part in ("text_config", "vision_config"):
        require(path, config.get(part) or {}, SHAPE, f"{part}.")
    require_files(folder)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Say of what transformers' own checks refuse that the settings in `path` are the cause.

    Raises:
        CheckpointError: they refuse something.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as exc:
        raise CheckpointError(
            f"{path} cannot be used: {' '.join(str(exc).split())} {REMEDY}"
        ) from exc


def shown(value: Any) -> str:
    """Return a value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
