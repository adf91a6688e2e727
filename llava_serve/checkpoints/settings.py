"""Settings files of a checkpoint as validated models: a wrong value is named before it is used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Gt, Len, MinLen, Predicate
from huggingface_hub.errors import StrictDataclassError
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llava_serve.checkpoints.detect import read_json
from llava_serve.errors import CheckpointError

_SHOWN = 60  # characters of a wrong value
REMEDY = "Correct it there, or download that file again."


@dataclass(frozen=True, slots=True)
class _MustBe:
    """What a message says that a value must be."""

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.custom_error_schema(
            handler(source), "must_be", custom_error_message=self.words
        )


class SettingsFile(BaseModel):
    """A JSON object; keys that no field names are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @property
    def raw(self) -> dict[str, Any]:
        """All that the file says."""
        return self.model_dump(exclude_unset=True)


class _AddedToken(SettingsFile):
    content: str


class _RopeScaling(SettingsFile):
    factor: int | float = 1
    rope_theta: int | float = 1


def _is_known(rope: _RopeScaling) -> bool:
    name = rope.raw.get("type", rope.raw.get("rope_type"))
    return not rope.raw or name in ["default", *ROPE_INIT_FUNCTIONS]


Whole = Annotated[int, _MustBe("a whole number")]
Count = Annotated[int, Gt(0), _MustBe("a whole number above 0")]
Number = Annotated[int | float, _MustBe("a number")]
Positive = Annotated[int | float, Gt(0), _MustBe("a number above 0")]
Flag = Annotated[bool, _MustBe("true or false")]
Text = Annotated[str, MinLen(1), _MustBe("text")]
Names = Annotated[list[str], _MustBe("a list of names")]
TokenIds = Annotated[int | list[int], _MustBe("the number of a token, or a list of such")]
Activation = Annotated[
    str,
    Predicate(lambda name: name in ACT2FN),
    _MustBe("the name of an activation function of transformers"),
]
RopeScaling = Annotated[
    _RopeScaling,
    Predicate(_is_known),
    _MustBe("an object with a type that transformers knows and its numbers"),
]
Channels = Annotated[list[int | float], Len(3, 3), _MustBe("three numbers")]
_Pair = Annotated[list[Count], Len(2, 2)]
Canvases = Annotated[list[_Pair], _MustBe("a list of [height, width] in pixels")]
Pixels = Annotated[
    Count | _Pair | dict[str, Count | None], _MustBe("a number of pixels, or an object of such")
]
Filter = Annotated[
    Literal[0, 1, 2, 3, 4, 5], _MustBe("the number of one of Pillow's filters, 0 to 5")
]
Token = Annotated[str | _AddedToken, _MustBe("text, or an object with it as content")]
Tokens = Annotated[
    list[str | _AddedToken], _MustBe("a list of texts, or of objects with them as content")
]
AddedTokens = Annotated[
    dict[str, _AddedToken], _MustBe("an object of objects, each with a text as content")
]
Merge = Literal["flat", "spatial", "spatial_unpad"]
NewlinePosition = Literal["one_token", "no_token", "frame", "grid"]
Pool = Literal["bilinear", "average", "max"]
_UNSET: Any = None  # of a key that may be left out, and must say something where it is there


class ModelShape(SettingsFile):
    """What describes a vision tower or a language model, wherever it stands."""

    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    num_hidden_layers: Count | None = None
    num_attention_heads: Count | None = None
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    hidden_act: Activation | None = None
    max_position_embeddings: Count | None = None
    rope_theta: Positive | None = None
    rope_scaling: SettingsFile | None = None
    image_size: Count | None = None
    patch_size: Count | None = None


class _WholeModel(SettingsFile):
    """A config.json; the precision of the weights stands in it, or in its text_config."""

    dtype: Any = None
    torch_dtype: Any = None

    @property
    def stored_dtype(self) -> str | None:
        places = (self.raw, self.raw.get("text_config") or {})
        named = [place.get(key) for place in places for key in ("dtype", "torch_dtype")]
        return next((str(name) for name in named if name), None)


class HuggingFaceConfig(_WholeModel):
    """config.json of a whole model in Hugging Face's layout."""

    text_config: ModelShape | None = None
    vision_config: ModelShape | None = None
    image_token_id: Whole = _UNSET
    image_token_index: Whole = _UNSET
    image_grid_pinpoints: Canvases | None = None


class OriginalConfig(_WholeModel, ModelShape):
    """LLaVA's config.json, with its `mm_*` keys."""

    mm_vision_tower: Text
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    rope_scaling: RopeScaling | None = None
    architectures: Names | None = None
    model_type: Text | None = None
    text_config: SettingsFile | None = None
    vocab_size: Count | None = None
    tokenizer_model_max_length: Count | None = None
    max_sequence_length: Count | None = None
    mm_hidden_size: Count | None = None
    mm_vision_select_layer: Whole | None = None
    mm_vision_select_feature: Text | None = None
    mm_projector_type: Text | None = None
    mm_patch_merge_type: Merge | None = None
    mm_newline_position: NewlinePosition | None = None
    mm_spatial_pool_mode: Pool | None = None
    mm_resampler_type: Any = None
    image_aspect_ratio: Text | None = None
    image_grid_pinpoints: Any = None
    mm_use_im_start_end: Flag | None = None
    mm_use_im_patch_token: Flag | None = True
    tune_mm_mlp_adapter: Flag | None = None
    tie_word_embeddings: Flag | None = None
    s2: Any = None


class TowerConfig(SettingsFile):
    """config.json of a vision tower; that of a whole CLIP has the tower's keys in a part."""

    vision_config: SettingsFile | None = None


class GenerationSettings(SettingsFile):
    """generation_config.json: how answers are sampled and ended."""

    eos_token_id: TokenIds | None = None
    do_sample: Flag | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: Whole | None = None
    repetition_penalty: Positive | None = None
    max_new_tokens: Count | None = None


class PreprocessorConfig(SettingsFile):
    """How images and frames are made into pixel values."""

    image_mean: Channels | None = None
    image_std: Channels | None = None
    image_grid_pinpoints: Canvases | None = None
    size: Pixels | None = None
    crop_size: Pixels | None = None
    resample: Filter | None = None


class ProcessorConfig(SettingsFile):
    """processor_config.json, or chat_template.json."""

    chat_template: Any = None
    video_processor: Any = None


class TokenizerConfig(SettingsFile):
    """tokenizer_config.json."""

    tokenizer_class: Text | None = None
    legacy: Any = None
    added_tokens_decoder: AddedTokens = _UNSET
    additional_special_tokens: Tokens | None = None
    bos_token: Token | None = None
    eos_token: Token | None = None
    unk_token: Token | None = None
    pad_token: Token | None = None


_BESIDE: Mapping[str, type[SettingsFile]] = {
    "generation_config.json": GenerationSettings,
    "preprocessor_config.json": PreprocessorConfig,
    "video_preprocessor_config.json": PreprocessorConfig,
    "processor_config.json": ProcessorConfig,
    "chat_template.json": ProcessorConfig,
    "tokenizer_config.json": TokenizerConfig,
    "tokenizer.json": SettingsFile,
    "added_tokens.json": SettingsFile,
    "special_tokens_map.json": SettingsFile,
}

S = TypeVar("S", bound=SettingsFile)


def parse(model: type[S], path: Path, content: Mapping[str, Any]) -> S:
    """Validate `content`, which comes from the file `path`.

    Raises:
        CheckpointError: a key is missing or of another kind; the message names file, key, value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        raise CheckpointError(_explained(path, exc)) from exc


def read(model: type[S], path: Path) -> S:
    """Read the settings file `path`; without one, nothing is set.

    Raises:
        CheckpointError: it is no JSON object, or has a value of another kind.
    """
    return parse(model, path, read_json(path) if path.exists() else {})


def check_beside(folder: Path) -> None:
    """Validate the files beside config.json; raises what `read` does."""
    for name, model in _BESIDE.items():
        read(model, folder / name)


def _explained(path: Path, error: ValidationError) -> str:
    errors = [(".".join(map(str, each["loc"])), each) for each in error.errors()]
    absent = [key for key, each in errors if each["type"] == "missing" or each["input"] is None]
    if absent:
        return (
            f"{path} has no {', '.join(absent)}. Add what the model was trained with, or download "
            "that file again."
        )
    key, first = errors[0]
    value = first["input"]
    if first["type"] == "literal_error" and value and isinstance(value, str):
        known = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return f"{path} says {key} {value!r}; known: {known}."
    words = {"must_be": first["msg"], "literal_error": "text"}.get(first["type"], "an object")
    return f"{path} says {key} {quoted(value)}, which must be {words}. {REMEDY}"


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
