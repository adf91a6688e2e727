"""Generation settings of an lmms-eval task, as fields of a chat completion."""

from collections.abc import Mapping
from typing import Any

from llava_serve.errors import CommandError

MAX_TOKENS = 1024  # what lmms-eval's own clients of servers ask for where a task says nothing

# lmms-eval fills this in where a task says nothing of `until`; its clients of servers ignore it,
# and answers of several paragraphs would end after the first.
_FILLED_IN = "\n\n"

_FIELDS = ("presence_penalty", "frequency_penalty")
_OF_SAMPLING = ("top_p", "top_k", "min_p", "seed")  # nothing where the likeliest token is taken

# Settings that mean nothing more than what is done anyway, with the values of which that is true.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "n": (None, 1),
    "num_return_sequences": (None, 1),
    "repetition_penalty": (None, 1, 1.0),
    "length_penalty": (None, 1, 1.0),
    "use_cache": (None, True, False),
    "skip_special_tokens": (None, True),
    # How the checkpoint looks at images is the checkpoint's own; lmms-eval's clients of servers
    # ignore it too.
    "image_aspect_ratio": (None, "original", "pad"),
}


def settings_of(kwargs: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the fields of a chat completion that `generation_kwargs` of a task come to.

    Raises:
        CommandError: one of them cannot be honoured; names it.

    Source: EvolvingLMMs-Lab/lmms-eval@75571cfe lmms_eval/models/chat/openai.py::generate_until, for
    what is asked where a task says nothing.
    """
    left = {name: value for name, value in kwargs.items() if not _is_neutral(name, value)}
    temperature = left.pop("temperature", None) or 0
    fields: dict[str, Any] = {
        "max_tokens": left.pop("max_new_tokens", None) or MAX_TOKENS,
        "temperature": temperature,
    }
    if left.pop("do_sample", None) and not temperature:
        raise _refused("do_sample: true without a temperature above 0", task)
    if stop := _stop(left.pop("until", None)):
        fields["stop"] = stop
    for name in (*_FIELDS, *_OF_SAMPLING):
        value = left.pop(name, None)
        if value is not None and (temperature or name in _FIELDS):
            fields[name] = value
    if left:
        raise _refused(", ".join(f"{name}: {value!r}" for name, value in left.items()), task)
    return fields


def _is_neutral(name: str, value: Any) -> bool:
    return name in _NEUTRAL and value in _NEUTRAL[name]


def _stop(until: Any) -> list[str]:
    texts = [until] if isinstance(until, str) else list(until or ())
    return [] if texts == [_FILLED_IN] else [text for text in texts if text]


def _refused(what: str, task: str) -> CommandError:
    return CommandError(
        f"the lmms-eval task {task!r} asks for {what}, which cannot be asked of a server",
        "Write a task of your own that includes its YAML file and has other generation_kwargs, "
        "and name its folder with --include-path.",
    )
