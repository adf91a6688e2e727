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


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_count, value))


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_size(value: Any) -> bool:
    lengths = value.values() if isinstance(value, dict) else [value]
    return is_pair(value) or all(each is None or _is_count(each) for each in lengths)


def _is_token(value: Any) -> bool:
    return isinstance(value.get("content") if isinstance(value, dict) else value, str)


def _is_rope(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    name = value.get("type", value.get("rope_type"))
    return not value or (
        name in ["default", *ROPE_INIT_FUNCTIONS]
        and all(map(_is_number, (value[key] for key in ("factor", "rope_theta") if key in value)))
    )


COUNT = Kind("a whole number above 0", _is_count)
WHOLE = Kind("a whole number", _is_whole)
_NUMBER = Kind("a number", _is_number)
_POSITIVE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str) and bool(value))
NAMES = Kind("a list of names", _list_of(lambda value: isinstance(value, str)))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
ROPE = Kind("an object with a type that transformers knows and its numbers", _is_rope)
_TOKENS = Kind(
    "the number of a token, or a list of such", lambda value: all(map(_is_whole, _several(value)))
)
_ACTIVATION = Kind(
    "the name of an activation function of transformers", lambda value: value in list(ACT2FN)
)
_CHANNELS = Kind(
    "three numbers",
    lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_number, value)),
)
_SIZES = Kind("a list of [height, width] in pixels", _list_of(is_pair))
_SIZE = Kind("a number of pixels, or an object of such", _is_size)
_FILTER = Kind("the number of one of Pillow's filters, 0 to 5", lambda value: value in range(6))
_TOKEN = Kind("text, or an object with it as content", _is_token)
_TOKEN_LIST = Kind("a list of texts, or of objects with them as content", _list_of(_is_token))
_ADDED = Kind(
    "an object of objects, each with a text as content",
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(each, dict) and _is_token(each) for each in value.values())
    ),
)

# What describes a tower or a language model, wherever it stands.
SHAPE: Kinds = {
    "hidden_size": COUNT,
    "intermediate_size": COUNT,
    "num_hidden_layers": COUNT,
    "num_attention_heads": COUNT,
    "num_key_value_heads": COUNT,
    "head_dim": COUNT,
    "hidden_act": _ACTIVATION,
    "max_position_embeddings": COUNT,
    "rope_theta": _POSITIVE,
    "rope_scaling": OBJECT,
    "image_size": COUNT,
    "patch_size": COUNT,
}
_HUGGINGFACE: Kinds = {
    "text_config": OBJECT,
    "vision_config": OBJECT,
    "image_token_id": WHOLE,
    "image_token_index": WHOLE,
    "image_grid_pinpoints": _SIZES,
}
PIXELS: Kinds = {
    "image_mean": _CHANNELS,
    "image_std": _CHANNELS,
    "image_grid_pinpoints": _SIZES,
    "size": _SIZE,
    "crop_size": _SIZE,
    "resample": _FILTER,
}
_FILES: Mapping[str, Kinds] = {
    "generation_config.json": {
        "eos_token_id": _TOKENS,
        "do_sample": FLAG,
        "temperature": _NUMBER,
        "top_p": _NUMBER,
        "top_k": WHOLE,
        "repetition_penalty": _POSITIVE,
        "max_new_tokens": COUNT,
    },
    "preprocessor_config.json": PIXELS,
    "video_preprocessor_config.json": PIXELS,
    "processor_config.json": {},
    "chat_template.json": {},
    "tokenizer_config.json": {
        "tokenizer_class": TEXT,
        "added_tokens_decoder": _ADDED,
        "additional_special_tokens": _TOKEN_LIST,
        "bos_token": _TOKEN,
        "eos_token": _TOKEN,
        "unk_token": _TOKEN,
        "pad_token": _TOKEN,
    },
    "tokenizer.json": {},
    "added_tokens.json": {},
    "special_tokens_map.json": {},
}
# Keys that may be left out, and must say something where they are there.
_NOT_NULL = {"image_token_id", "image_token_index", "added_tokens_decoder"}


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
                f"{path} says {within}{key} {quoted(value)}, which must be {kind.words}. {REMEDY}"
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
            content = read_json(path)
            require(path, content, kinds)
            require_there(path, content, tuple(_NOT_NULL & {*content}))


def require_huggingface(folder: Path, config: Mapping[str, Any]) -> None:
    """See that `config`, the config.json of a whole model in Hugging Face's layout, can be used.

    Raises:
        CheckpointError: a value in it, or in a file beside it, is of another kind.
    """
    path = folder / "config.json"
    require(path, config, _HUGGINGFACE)
    require_there(path, config, tuple(_NOT_NULL & {*config}))
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


def quoted(value: Any) -> str:
    """Return a value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
