"""Conversation history of the terminal: its turns, and its JSON files."""

from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import ValidationError

from llava_serve.errors import CommandError, ServeError
from llava_serve.local_path import local_path
from llava_serve.protocol.content_part import ImagePart, TextPart, VideoPart
from llava_serve.protocol.openai import ChatMessage
from llava_serve.protocol.strict import Strict
from llava_serve.request import FinishReason, Usage

Media = ImagePart | VideoPart

_LOAD_REMEDY = "Give a file that /save wrote."


@dataclass(frozen=True, slots=True)
class History:
    """Finished turns, and the media of the next question; immutable."""

    system: str | None = None
    turns: tuple[ChatMessage, ...] = ()  # user and assistant in alternation
    attached: tuple[Media, ...] = ()

    def with_media(self, part: Media) -> Self:
        """Attach `part` to the next question."""
        return replace(self, attached=(*self.attached, part))

    def messages(self) -> list[ChatMessage]:
        """Return the finished turns, after the system prompt if there is one."""
        system = [ChatMessage(role="system", content=self.system)] if self.system else []
        return [*system, *self.turns]

    def request_with(self, question: str) -> list[ChatMessage]:
        """Return the messages of a request that asks `question`."""
        return [*self.messages(), self._question_message(question)]

    def with_answer(self, question: str, answer: str) -> Self:
        """Add a finished turn; nothing is attached to the next question."""
        reply = ChatMessage(role="assistant", content=answer)
        turns = (*self.turns, self._question_message(question), reply)
        return replace(self, turns=turns, attached=())

    def without_last_turn(self) -> tuple[Self, str]:
        """Return the history before the last question, its media attached again, and its text.

        Raises:
            CommandError: nothing was asked.
        """
        if not self.turns:
            raise CommandError("nothing was asked yet", "Write a question.")
        *turns, message, _ = self.turns
        parts = message.parts()
        media = tuple(part for part in parts if not isinstance(part, TextPart))
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        return replace(self, turns=tuple(turns), attached=(*media, *self.attached)), text

    def _question_message(self, question: str) -> ChatMessage:
        text = TextPart(type="text", text=question)
        return ChatMessage(role="user", content=[*self.attached, text])


Outcome = FinishReason | Literal["cancelled", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """Result of one question; `text` is what came of an answer that broke off."""

    question: str
    text: str
    finish_reason: Outcome
    usage: Usage | None
    model: str
    error: ServeError | None = None


class SavedConversation(Strict):
    """JSON file of a conversation; `messages` and `model` make a request body as they are."""

    model: str
    messages: list[ChatMessage]
    attached: tuple[Media, ...] = ()


def save_history(file: str, model: str, history: History) -> None:
    """Write `history`; only a .json file is ever overwritten.

    Raises:
        CommandError: the file cannot be written.
    """
    saved = SavedConversation(model=model, messages=history.messages(), attached=history.attached)
    try:
        path = local_path(file)
        if path.exists() and path.suffix != ".json":
            raise CommandError(
                f"{path} exists already, and is no .json file",
                "Choose another name; only .json files are overwritten.",
            )
        path.write_text(saved.model_dump_json(exclude_none=True, indent=1), encoding="utf-8")
    except OSError as exc:
        raise CommandError(
            f"cannot write {file}: {exc.strerror or exc}", "Choose a file you may write to."
        ) from exc


def load_history(file: str) -> tuple[str, History]:
    """Return the model that answered, and the conversation.

    Raises:
        CommandError: the file cannot be read, or is no saved conversation.
    """
    try:
        content = local_path(file).read_bytes()
        saved = SavedConversation.model_validate_json(content.removeprefix(BOM_UTF8))
    except OSError as exc:
        raise CommandError(f"cannot read {file}: {exc.strerror or exc}", _LOAD_REMEDY) from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CommandError(
            f"{file} is no saved conversation ({where}: {first['msg']})", _LOAD_REMEDY
        ) from exc
    return saved.model, _history(saved, file)


def _history(saved: SavedConversation, file: str) -> History:
    messages = saved.messages
    system = None
    if messages and messages[0].role in ("system", "developer"):
        system = "".join(part.text for part in messages[0].parts() if part.type == "text")
        messages = messages[1:]
    expected = ["user", "assistant"] * (len(messages) // 2)
    if [message.role for message in messages] != expected:
        raise CommandError(f"{file} does not hold questions and answers in turn", _LOAD_REMEDY)
    return History(system or None, tuple(messages), saved.attached)
