"""Questions of one's own as JSON lines: messages with media, or lines of LLaVA's custom data."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.task import Answered, MetricTally

_IN_FOLDER = "questions.jsonl"
_PLACEHOLDER = re.compile(r"<image>\s*")  # of LLaVA's data, where a picture stands in a text
_FORMAT = (
    'Give each line {"id", "messages", "answer"} or LLaVA\'s {"question_id", "image", "text"}.'
)


class _OfLine(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _LineText(_OfLine):
    type: Literal["text"]
    text: str


class _LineImage(_OfLine):
    type: Literal["image"]
    image: str


class _LineVideo(_OfLine):
    type: Literal["video"]
    video: str


class _LineMessage(_OfLine):
    role: Literal["system", "user", "assistant"]
    content: str | list[Annotated[_LineText | _LineImage | _LineVideo, Field(discriminator="type")]]


class _ChatLine(_OfLine):
    id: str | int
    messages: list[_LineMessage] = Field(min_length=1)
    answer: str | list[str] | None = None
    kind: str = ""
    max_tokens: int | None = Field(None, ge=1)


class _LlavaLine(BaseModel):
    question_id: str | int
    text: str
    image: str | list[str] | None = None
    category: str = ""
    answer: str | list[str] | None = None


def _kind(line: Any) -> str:
    return "llava" if isinstance(line, dict) and "question_id" in line else "chat"


_Line: TypeAdapter[_ChatLine | _LlavaLine] = TypeAdapter(
    Annotated[
        Annotated[_ChatLine, Tag("chat")] | Annotated[_LlavaLine, Tag("llava")],
        Discriminator(_kind),
    ]
)


class ChatLines:
    """`data` is the file, or the folder of its `questions.jsonl`; media are named from there.

    An answer is right that equals one of the right ones; a line without any is asked, and not
    graded.
    """

    name: ClassVar[str] = "jsonl"
    max_tokens = 128
    main_metric: ClassVar[str] = "accuracy"

    def __init__(self, data: Path) -> None:
        self._path = data / _IN_FOLDER if data.is_dir() else data
        self._folder = self._path.parent

    def questions(self) -> Iterator[Question]:
        """Yield the questions; see `Task.questions`."""
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    line = line.removeprefix(BOM_UTF8)
                    if line.strip():
                        yield self._question(number, line)
        except OSError as exc:
            what = f"cannot read {self._path}: {exc.strerror}"
            raise CommandError(what, "Name another file with --data.") from exc

    def grade(self, question: Question, text: str) -> Grade:
        """Compare an answer with the right ones, letter by letter."""
        right = question.truth
        return Grade(text, None if right is None else float(text in right))

    def tally(self) -> MetricTally:
        """Return an empty tally."""
        return _Accuracies()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write nothing: nobody takes the answers."""
        return []

    def _question(self, number: int, line: bytes) -> Question:
        try:
            parsed = _Line.validate_json(line)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"][1:]))
            why = f"{where}: {first['msg']}" if where else first["msg"]
            what = f"line {number} of {self._path} is no question: {why}"
            raise CommandError(what, _FORMAT) from exc
        right = [parsed.answer] if isinstance(parsed.answer, str) else parsed.answer
        truth = None if right is None else [one.strip() for one in right]
        if isinstance(parsed, _ChatLine):
            turns = tuple(self._turn(message) for message in parsed.messages)
            settings = {} if parsed.max_tokens is None else {"max_tokens": parsed.max_tokens}
            told = {"question_id": parsed.id}
            return Question(str(parsed.id), turns, parsed.kind, truth, told, settings)
        named = [parsed.image] if isinstance(parsed.image, str) else parsed.image or []
        media = tuple(Medium(self._folder / name) for name in named)
        turns = (Turn("user", _PLACEHOLDER.sub("", parsed.text), media),)
        metadata: dict[str, Any] = {"question_id": parsed.question_id, "prompt": parsed.text}
        return Question(str(parsed.question_id), turns, parsed.category, truth, metadata)

    def _turn(self, message: _LineMessage) -> Turn:
        if isinstance(message.content, str):
            return Turn(message.role, message.content)
        texts, media = [], []
        for part in message.content:
            if isinstance(part, _LineText):
                texts.append(part.text)
            elif isinstance(part, _LineImage):
                media.append(Medium(self._folder / part.image))
            else:
                media.append(Medium(self._folder / part.video, "video"))
        return Turn(message.role, "\n".join(texts), tuple(media))


class _Accuracies:
    """The share of right answers, of all and of each kind."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}  # credit and count

    def add(self, question: Question, grade: Grade) -> None:
        """Count an answer whose question has a right one."""
        if grade.credit is None:
            return
        for name in {"accuracy", f"{question.kind}/accuracy" if question.kind else "accuracy"}:
            sums = self._sums.setdefault(name, [0.0, 0])
            sums[0] += grade.credit
            sums[1] += 1

    def metrics(self) -> dict[str, float]:
        """Return `accuracy`, and `KIND/accuracy` of each kind."""
        return {name: total / count for name, (total, count) in sorted(self._sums.items())}
