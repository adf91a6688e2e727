"""Batch input: its lines off the disk one by one, and what is wrong with them before any is run."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from llava_serve.adapters.messages.request import MESSAGES
from llava_serve.adapters.responses.request import RESPONSES
from llava_serve.cluster.files.resolving import with_any_image
from llava_serve.errors import NotJson, ServeError
from llava_serve.http import json_body
from llava_serve.protocol.completions import parse_completion_request
from llava_serve.protocol.openai import parse_chat_request

MOST_LINES = 50_000
_MOST_ERRORS = 100  # that are told
_MOST_ID = 512  # characters

Error = Mapping[str, Any]  # as `openai.types.BatchError`


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request; `number` is its line in the file, from 1."""

    number: int
    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Validated:
    """How many requests there are, or what is wrong with some."""

    total: int
    errors: tuple[Error, ...]


def read_lines(path: Path, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that have anything in them, with their numbers from 1.

    Of a longer line one byte more than `most_bytes` is all that is read at once, and yielded.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(most_bytes + 1):
            number += 1
            is_whole = line.endswith(b"\n") or len(line) <= most_bytes
            if line.strip() or not is_whole:
                yield number, line
            while not is_whole and (rest := file.readline(most_bytes)):
                is_whole = rest.endswith(b"\n")


def read_requests(path: Path, is_done: Callable[[int], bool]) -> Iterator[BatchLine]:
    """Yield the requests of a file that was validated, but for those that are done."""
    for number, line in read_lines(path, path.stat().st_size):
        if not is_done(number):
            decoded = json_body.decode(line)
            yield BatchLine(number, decoded["custom_id"], to_json(decoded["body"]))


class LineCheck:
    """Checks the lines of one batch; what it raises is told of the line."""

    def __init__(
        self,
        endpoint: str,
        check_model: Callable[[str], None],
        most_line_bytes: int,
        *,
        keeps_responses: bool,
    ) -> None:
        """Let `check_model` raise a ServeError for a model that may not be asked."""
        self._endpoint = endpoint
        self._check_model = check_model
        self._most_line_bytes = most_line_bytes
        self._keeps_responses = keeps_responses
        self._ids: set[bytes] = set()  # digests: ids may be long

    def validate(self, path: Path) -> Validated:
        """Read all lines; stops where there are too many, or too many errors."""
        total, errors = 0, list[Error]()
        for number, line in read_lines(path, self._most_line_bytes):
            total += 1
            if total > MOST_LINES:
                told = f"a batch has {MOST_LINES:,} lines at most, and this one more"
                errors.append(_error("too_many_lines", told, number))
                break
            if (error := self.error_of(number, line)) is not None:
                errors.append(error)
            if len(errors) == _MOST_ERRORS:
                break
        if not total:
            errors.append(_error("empty_file", "the file has no lines", None))
        return Validated(total, tuple(errors))

    def error_of(self, number: int, line: bytes) -> Error | None:
        """Return what is wrong with one line, if anything."""
        if len(line) > self._most_line_bytes:
            told = f"the line has more than {self._most_line_bytes / 1e6:g} MB"
            return _error("line_too_long", told, number)
        try:
            decoded = json_body.decode(line)
        except NotJson as exc:
            return _error("invalid_json_line", exc.message, number)
        if not isinstance(decoded, dict):
            return _error("invalid_json_line", "the line must be a JSON object", number)
        return self._error_of_envelope(number, decoded) or self._error_of_body(number, decoded)

    def _error_of_envelope(self, number: int, decoded: dict[str, Any]) -> Error | None:
        custom_id = decoded.get("custom_id")
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _MOST_ID:
            told = f"custom_id must be a text of 1 to {_MOST_ID} characters"
            return _error("invalid_custom_id", told, number, "custom_id")
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        if digest in self._ids:
            told = f"the custom_id {custom_id[:100]!r} is that of an earlier line"
            return _error("duplicate_custom_id", told, number, "custom_id")
        self._ids.add(digest)
        if decoded.get("method") != "POST":
            return _error("invalid_method", "method must be POST", number, "method")
        if decoded.get("url") != self._endpoint:
            told = f"url must be the batch's endpoint, {self._endpoint}"
            return _error("invalid_url", told, number, "url")
        return None

    def _error_of_body(self, number: int, decoded: dict[str, Any]) -> Error | None:
        body = decoded.get("body")
        if not isinstance(body, dict):
            return _error("invalid_body", "body must be a JSON object", number, "body")
        if body.get("stream"):
            told = "the answers of a batch are not streamed: leave stream out"
            return _error("invalid_body", told, number, "body.stream")
        try:
            self._check_model(self._model_of(body))
        except ServeError as exc:
            param = getattr(exc, "param", None)
            return _error(exc.code, exc.message, number, f"body.{param}" if param else "body")
        return None

    def _model_of(self, body: dict[str, Any]) -> str:
        """Return the model of a body that its protocol accepts. Raises: ServeError."""
        if self._endpoint == "/v1/completions":
            return parse_completion_request(body).model
        if self._endpoint == RESPONSES.path and self._keeps_responses:
            body = _without_kept(body)
        if self._endpoint == RESPONSES.path:
            body = RESPONSES.read(body).chat
        elif self._endpoint == MESSAGES.path:
            body = MESSAGES.read(body).chat
        return parse_chat_request(with_any_image(body)).model


def _without_kept(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body of the Responses protocol without what is kept, which is known when it runs."""
    body = {k: v for k, v in body.items() if k not in ("store", "previous_response_id")}
    if isinstance(items := body.get("input"), list):
        new = [i for i in items if not (isinstance(i, dict) and i.get("type") == "item_reference")]
        body["input"] = new or "-"
    return body


def _error(code: str, message: str, line: int | None, param: str | None = None) -> Error:
    return {"code": code, "message": message, "line": line, "param": param}
