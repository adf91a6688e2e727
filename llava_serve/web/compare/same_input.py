"""Same-input mark of a comparison: whether all models were asked the same, and who was not."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from llava_serve.web.compare.fingerprint import EARLIER, FILES, QUESTION, SYSTEM, Fingerprint

_SAME = "Same input"
_OWN_HISTORY = "Same input, but each model has its own earlier answers before it"
_DIFFERENT = "Not the same input"
_WITHOUT = "{who} was asked without {part}, which its model does not take"
_NONE_GIVEN = "{who} was asked without {part}"
_OTHER_VALUE = "{who} was asked with {part} {value}"
_OTHER_CONTENT = "{who} was asked with another {part}"
_WORDS = {
    FILES: "set of pictures and clips",
    "top_p": "top p",
    "max_tokens": "max tokens",
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
        return f"{_SAME}: {_described(asked[0])}"
    if differing == {EARLIER}:
        return f"{_OWN_HISTORY}: {_described(asked[0])}"
    told = [
        _told(part, one, name)
        for part in sorted(differing - {EARLIER})
        for one, name in zip(asked, names, strict=True)
        if one.parts.get(part) != _usual(part, asked)
    ]
    return f"{_DIFFERENT}: {'; '.join(told)}"


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
    value, word = one.parts.get(part), _WORDS.get(part, part)
    if part in one.refused:
        return _WITHOUT.format(who=who, part=word)
    if part in _HASHED and value:
        return _OTHER_CONTENT.format(who=who, part=word)
    if value is None or value == []:
        return _NONE_GIVEN.format(who=who, part=word)
    return _OTHER_VALUE.format(who=who, part=word, value=value)


def _described(one: Fingerprint) -> str:
    files = len(one.parts.get(FILES, ()))
    parts = [QUESTION, *([f"{files} file{'s' if files > 1 else ''}"] if files else [])]
    parts += [SYSTEM] if SYSTEM in one.parts else []
    given = [name for name in _SHOWN if name in one.parts]
    parts += [f"{_WORDS.get(name, name)} {one.parts[name]}" for name in given]
    return ", ".join(parts)
