"""Options of Ollama's requests, and the fields of a chat completion that they become.

Source: ollama 0.6.3, ollama/_types.py, Options; ollama/ollama@fb30760, api/types.go, Options and
DefaultOptions, docs/modelfile.mdx.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from llava_serve.protocol.integer import Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, unsupported

# How Ollama loads and runs a model: here that is the worker's affair, and changes no token.
_OF_THE_RUNNER = (
    *("draft_num_predict", "f16_kv", "low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu"),
    *("num_keep", "num_thread", "numa", "use_mlock", "use_mmap"),
)
# What each field of a chat completion is called here, and where a penalty is none.
_FIELDS = {
    "max_tokens": "num_predict",
    **{name: name for name in ("min_p", "seed", "stop", "temperature", "top_k", "top_p")},
}
_PENALTIES = {
    "repetition_penalty": ("repeat_penalty", 1),
    "frequency_penalty": ("frequency_penalty", 0),
    "presence_penalty": ("presence_penalty", 0),
}
SOURCES = {
    name: f"options.{own}"
    for name, own in (_FIELDS | {name: own for name, (own, _) in _PENALTIES.items()}).items()
}


def _no_limit(num_predict: Any) -> Any:
    return None if num_predict in (-1, -2) else num_predict


def _random(seed: Any) -> Any:
    return None if seed == -1 else seed


class Options(Strict):
    """Options that choose tokens; of the others those values pass that ask for nothing.

    `num_ctx` is accepted because a context here is the model's, and what does not fit is refused
    rather than cut; `num_keep` says what such a cut leaves.
    """

    neutral: ClassVar[Neutral] = {
        **dict.fromkeys(_OF_THE_RUNNER, ANYTHING),
        "embedding_only": (None, False),
        "logits_all": (None, False),
        "mirostat": (None, 0),
        "mirostat_eta": ANYTHING,  # of mirostat
        "mirostat_tau": ANYTHING,
        "penalize_newline": (None, True),
        "tfs_z": (None, 1),
        "typical_p": (None, 1),
        "vocab_only": (None, False),
    }

    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None  # 0 and -1: no limit
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[
        Annotated[int, Field(ge=-(2**63), lt=2**63)] | None, BeforeValidator(_random)
    ] = None
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)] | None = None
    num_predict: Annotated[Positive | None, BeforeValidator(_no_limit)] = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repeat_last_n: Annotated[int, Field(ge=-1)] | None = None

    @model_validator(mode="after")
    def _check_reach(self) -> Self:
        if self._penalties and self.repeat_last_n not in (None, -1, 0):
            raise unsupported(
                "repeat_last_n",
                f"{self.repeat_last_n} is not supported with a penalty: penalties here look back "
                "without a limit (-1, as where it is left out), or are none (0)",
            )
        return self

    @property
    def _penalties(self) -> dict[str, float]:
        """The penalties that change anything, by their names on the native wire."""
        asked = {name: (getattr(self, own), none) for name, (own, none) in _PENALTIES.items()}
        return {name: value for name, (value, none) in asked.items() if value not in (None, none)}

    def as_chat(self) -> dict[str, Any]:
        """Return the fields of a chat completion that say the same."""
        fields = {name: getattr(self, own) for name, own in _FIELDS.items()}
        given = {name: value for name, value in fields.items() if value is not None}
        return given | ({} if self.repeat_last_n == 0 else self._penalties)
