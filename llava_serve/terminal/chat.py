"""Chat in the terminal: a line is a question or a command, and both change the history."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from llava_serve.errors import ServeError
from llava_serve.request import Delta
from llava_serve.terminal import command
from llava_serve.terminal.attachment import Attachments
from llava_serve.terminal.chat_model import ChatModel
from llava_serve.terminal.command import Command
from llava_serve.terminal.history import (
    History,
    Media,
    Outcome,
    TurnResult,
    load_history,
    save_history,
)
from llava_serve.terminal.output import AnswerWriter, Notes
from llava_serve.terminal.text import valid_text


class Chat:
    """Asks `model`, writes through `writer` and `notes`, and keeps `history`."""

    def __init__(
        self,
        model: ChatModel,
        attachments: Attachments,
        history: History,
        writer: AnswerWriter,
        notes: Notes,
    ) -> None:
        self.history = history
        self._model = model
        self._attachments = attachments
        self._writer = writer
        self._notes = notes
        self._unanswered: str | None = None  # the last question, if it got no answer

    async def take(self, line: str) -> bool:
        """Ask the question or run the command of one line; False for /exit.

        Raises:
            ServeError: it cannot be done, or the answer broke off.
        """
        if not command.is_command(line):
            if question := valid_text(line.strip()):
                await self.ask(question)
            return True
        parsed = command.parse(line)
        if parsed.name == "/exit":
            return False
        await self._run_command(parsed)
        return True

    async def ask(self, question: str) -> None:
        """Stream the answer; a cancel stops it. The history keeps what came of it.

        Raises:
            ServeError: the question cannot be answered, or the answer broke off.
        """
        deltas: list[Delta] = []
        stream = self._model.stream(self.history.request_with(question))
        try:
            async with aclosing(stream):
                async for delta in stream:
                    deltas.append(delta)
                    self._writer.delta(delta.text)
        except ServeError as exc:
            self._finish(question, deltas, "error", exc)
            raise
        except asyncio.CancelledError:
            self._finish(question, deltas, "cancelled")
            raise
        self._finish(question, deltas, _reason(deltas))

    def _finish(
        self,
        question: str,
        deltas: Sequence[Delta],
        outcome: Outcome,
        error: ServeError | None = None,
    ) -> None:
        result = TurnResult(
            question=question,
            text="".join(delta.text for delta in deltas),
            finish_reason=outcome,
            usage=next((delta.usage for delta in reversed(deltas) if delta.usage), None),
            model=self._model.name,
            error=error,
        )
        self._unanswered = question
        if result.text or outcome in ("stop", "length"):
            self.history = self.history.with_answer(question, result.text)
            self._unanswered = None
        self._writer.finish(result)
        if outcome == "length":
            self._notes.say("the answer was cut: it reached --max-new-tokens")

    async def _run_command(self, parsed: Command) -> None:
        match parsed:
            case Command("/image", source):
                self._attach(await self._attachments.image(source), source)
            case Command("/video", source):
                self._attach(await self._attachments.video(source), source)
            case Command("/system", text):
                self.history = replace(self.history, system=valid_text(text) or None)
                self._notes.say("system prompt set" if text else "no system prompt")
            case Command("/again"):
                await self._ask_again()
            case Command("/reset"):
                self._unanswered = None
                self.history = History(system=self.history.system)
                self._notes.say("the conversation is empty; give pictures again with /image")
            case Command("/save", file):
                save_history(file, self._model.name, self.history)
                self._notes.say(f"{self._size()} saved to {file}")
            case Command("/load", file):
                self._load(file)
            case _:
                self._notes.help()

    async def _ask_again(self) -> None:
        question = self._unanswered
        if question is None:
            self.history, question = self.history.without_last_turn()
        await self.ask(question)

    def _attach(self, part: Media, source: str) -> None:
        self.history = self.history.with_media(part)
        self._notes.say(f"{source} goes with the next question")

    def _load(self, file: str) -> None:
        name, self.history = load_history(file)
        self._unanswered = None
        self._notes.say(f"{self._size()} loaded from {file}")
        if name != self._model.name:
            self._notes.say(f"{name} answered them; {self._model.name} goes on")

    def _size(self) -> str:
        questions = len(self.history.turns) // 2
        return "1 question" if questions == 1 else f"{questions} questions"


def _reason(deltas: Sequence[Delta]) -> Outcome:
    return next((delta.finish_reason for delta in reversed(deltas) if delta.finish_reason), "stop")
