"""Same-input mark of a comparison: whether all models were asked the same, and who was not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from llava_serve.web.compare.fingerprint import EARLIER, FILES, QUESTION, SYSTEM, Fingerprint
from llava_serve.web.translations.language import translate

_NAMES = {
    QUESTION: "compare.part.question",
    SYSTEM: "compare.part.system",
    FILES: "compare.part.files",
    "temperature": "compare.part.temperature",
    "top_p": "compare.part.top_p",
    "max_tokens": "compare.part.max_tokens",
    "seed": "compare.part.seed",
}
_SHOWN = ("temperature", "top_p", "max_tokens", "seed")  # of the parameters, in this order
_HASHED = (QUESTION, SYSTEM, FILES)


def is_same(asked: Sequence[Fingerprint]) -> bool:
    """Tell whether nothing differs but, within a conversation, what each model has said before."""
    return not _differing(asked) - {EARLIER}


def mark(asked: Sequence[Fingerprint], names: Sequence[str]) -> str:
    """Say whether all were asked the same, with which parameters, or who was asked otherwise.

    `names` are the letters of the models.
    """
    differing = _differing(asked)
    if not differing:
        return translate("compare.same_input", parts=_described(asked[0]))
    if differing == {EARLIER}:
        return translate("compare.own_history", parts=_described(asked[0]))
    told = [
        _told(part, one, name)
        for part in sorted(differing - {EARLIER})
        for one, name in zip(asked, names, strict=True)
        if one.parts.get(part) != _usual(part, asked)
    ]
    return translate("compare.other_input", reasons=translate("page.semicolon").join(told))


def name_of(part: str) -> str:
    """Return what a part of a request is called; a parameter without a name by its field."""
    return translate(_NAMES[part]) if part in _NAMES else part


def _differing(asked: Sequence[Fingerprint]) -> set[str]:
    named = {part for one in asked for part in one.parts}
    return {part for part in named if len({_key(part, one) for one in asked}) > 1}


def _key(part: str, one: Fingerprint) -> str:
    return repr(one.parts.get(part))


def _usual(part: str, asked: Sequence[Fingerprint]) -> Any:
    """Return the value that most were asked with whose models take it; among equals, the first."""
    taken = [one for one in asked if part not in one.refused]
    (usual, _), *_ = Counter(_key(part, one) for one in taken).most_common(1)
    return next(one.parts.get(part) for one in taken if _key(part, one) == usual)


def _told(part: str, one: Fingerprint, who: str) -> str:
    value, name = one.parts.get(part), name_of(part)
    if part in one.refused:
        return translate("compare.refused_part", who=who, part=name)
    if part in _HASHED and value:
        return translate("compare.other_content", who=who, part=name)
    if value is None or value == []:
        return translate("compare.without_part", who=who, part=name)
    return translate("compare.other_value", who=who, part=name, value=value)


def _described(one: Fingerprint) -> str:
    files = len(one.parts.get(FILES, ()))
    parts = [name_of(QUESTION)]
    if files:
        parts.append(translate("compare.files", count=files))
    if SYSTEM in one.parts:
        parts.append(name_of(SYSTEM))
    return translate("page.comma").join([*parts, *described(one.parts, _SHOWN)])


def described(parameters: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return those of the parameters that have these names, in words."""
    return [f"{name_of(name)} {parameters[name]}" for name in names if name in parameters]
