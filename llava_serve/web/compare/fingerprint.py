"""Fingerprint of a request: what a model was asked, to tell whether another was asked the same."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

QUESTION, SYSTEM, FILES, EARLIER = "question", "system prompt", "files", "earlier answers"
_SHOWN = 10  # hexadecimal digits: enough for an eye, and no two of a million would be alike
_NOT_ASKED = ("model", "messages", "stream", "stream_options")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The parts of a request by their names: texts as hashes, files as theirs, parameters as sent.

    `refused` are the parameters without which it was sent in the end: its model takes none such.
    """

    parts: Mapping[str, Any]
    refused: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A short hash of all parts."""
        return _hash(self.parts)[:_SHOWN]

    def as_json(self) -> dict[str, Any]:
        """Return what is written down of it."""
        return {"parts": dict(self.parts), "refused": list(self.refused)}

    @classmethod
    def restored(cls, kept: Mapping[str, Any] | None) -> Self | None:
        """Return what `as_json` wrote down; None where nothing was."""
        return None if kept is None else cls(kept["parts"], tuple(kept["refused"]))


def fingerprint_of(
    body: Mapping[str, Any], sha256_of: Callable[[Any], str], refused: tuple[str, ...] = ()
) -> Fingerprint:
    """Return the fingerprint of the body of a chat request; `sha256_of` is that of a file's bytes.

    It blocks: every byte of the files is read.
    """
    said: list[Any] = []
    files: list[str] = []
    texts: dict[str, list[str]] = {SYSTEM: [], EARLIER: []}
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        if role == "user":
            said.append([_part(part, files, sha256_of) for part in content])
        else:
            texts[SYSTEM if role == "system" else EARLIER].append(content)
            said.append(role)
    parts = {name: value for name, value in body.items() if name not in _NOT_ASKED}
    parts |= {name: _hash(one) for name, one in texts.items() if one}
    return Fingerprint(parts | {QUESTION: _hash(said), FILES: files}, refused)


def _part(part: Mapping[str, Any], files: list[str], sha256_of: Callable[[Any], str]) -> list[str]:
    """Return what stands in a question for one of its parts; the hash of a file joins `files`."""
    kind = part["type"]
    if kind == "text":
        return [kind, part["text"]]
    files.append(sha256_of(part[kind]["url"]))
    return [kind]


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def seed_for(others: Iterable[Fingerprint | None]) -> int:
    """Return the seed that the others were asked with, or draw one."""
    known = (one.parts.get("seed") for one in others if one is not None)
    seed = next((seed for seed in known if isinstance(seed, int)), None)
    return secrets.randbelow(2**31) if seed is None else seed
