"""Recording file: JSON lines of requests with their pictures and answers, with a version."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from llava_serve.errors import CommandError
from llava_serve.form_fault import first_fault

_FRESH = "Record it anew with `python -m llava_serve.replay record`."


class _RecordedPart(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecordedToken(_RecordedPart):
    """A token of an answer; `top` are the likeliest at its place with their log-probabilities."""

    token: str
    logprob: FiniteFloat
    top: dict[str, FiniteFloat] = {}

    @property
    def known(self) -> dict[str, float]:
        """All log-probabilities that are known at this place."""
        return {**self.top, self.token: self.logprob}


class RecordedAnswer(_RecordedPart):
    text: str
    finish_reason: str | None
    tokens: list[RecordedToken]
    prompt_tokens: int | None = None


class RecordedRequest(_RecordedPart):
    """`body` is a chat completion's without the model."""

    name: str
    body: dict[str, Any]
    answer: RecordedAnswer


class _Header(_RecordedPart):
    format: Literal["llava_serve.replay"] = "llava_serve.replay"
    version: Literal[1] = 1
    model: str
    recorded_at: str
    requests: int = Field(ge=1)


class Recording(BaseModel):
    """What one model answered; `recorded_at` is a time in ISO 8601."""

    model: str
    recorded_at: str
    requests: list[RecordedRequest]

    def write(self, path: Path) -> None:
        """Raises: CommandError, when the file cannot be written."""
        header = _Header(
            model=self.model, recorded_at=self.recorded_at, requests=len(self.requests)
        )
        lines = [one.model_dump_json() + "\n" for one in (header, *self.requests)]
        try:
            path.write_text("".join(lines), encoding="utf-8")
        except OSError as exc:
            raise CommandError(
                f"cannot write {path}: {exc.strerror}", "Name another file with --out."
            ) from exc

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Raises: CommandError, when the file is no whole recording of this version."""
        first, *others = read_lines(path) or [""]
        try:
            header = _Header.model_validate_json(first)
        except ValidationError as exc:
            what = f"{path} is no recording of version 1: {first_fault(exc)}"
            raise CommandError(what, _FRESH) from exc
        if len(others) != header.requests:
            what = f"{path} is cut: it has {len(others)} of its {header.requests} requests"
            raise CommandError(what, _FRESH)
        requests = []
        for number, line in enumerate(others, 2):
            try:
                requests.append(RecordedRequest.model_validate_json(line))
            except ValidationError as exc:
                what = f"line {number} of {path} is no recorded request: {first_fault(exc)}"
                raise CommandError(what, _FRESH) from exc
        return cls(model=header.model, recorded_at=header.recorded_at, requests=requests)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file that are not empty.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise CommandError(f"cannot read {path}: {exc.strerror}", "Name another file.") from exc
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path} is no text in UTF-8", "Name another file.") from exc
    return [line for line in text.split("\n") if line.strip()]
