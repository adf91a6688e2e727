"""One person's chat: each line is a question or a command, and the history follows from them."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from llava_serve.errors import ServeError
from llava_serve.request import Delta
from llava_serve.terminal import command, saved
from llava_serve.terminal.answerer import Answer, Answerer, Outcome
from llava_serve.terminal.attachment import Attachments
from llava_serve.terminal.command import Command
from llava_serve.terminal.history import History, Media
from llava_serve.terminal.notes import Notes
from llava_serve.terminal.typed import words_of
from llava_serve.terminal.view import AnswerView


class Chat:
    """Asks `answerer`, shows through `view` and `notes`, and keeps `history`."""

    def __init__(
        self,
        answerer: Answerer,
        attachments: Attachments,
        history: History,
        view: AnswerView,
        notes: Notes,
    ) -> None:
        self.history = history
        self._answerer = answerer
        self._attachments = attachments
        self._view = view
        self._notes = notes
        self._unanswered: str | None = None  # the last question, where nothing came of it

    async def take(self, line: str) -> bool:
        """Do what one line says; False when it says to leave.

        Raises:
            ServeError: it cannot be done, or the answer broke off.
        """
        if not command.is_command(line):
            if question := words_of(line.strip()):
                await self.ask(question)
            return True
        said = command.parse(line)
        if said.name == "/exit":
            return False
        await self._obey(said)
        return True

    async def ask(self, question: str) -> None:
        """Stream the answer; a cancel stops it. What was said stays in the history.

        Raises:
            ServeError: the question cannot be answered, or the answer broke off.
        """
        deltas: list[Delta] = []
        stream = self._answerer.stream(self.history.asking(question))
        try:
            async with aclosing(stream):
                async for delta in stream:
                    deltas.append(delta)
                    self._view.delta(delta.text)
        except ServeError as exc:
            self._ended(question, deltas, "error", exc)
            raise
        except asyncio.CancelledError:
            self._ended(question, deltas, "cancelled")
            raise
        self._ended(question, deltas, _reason(deltas))

    def _ended(
        self,
        question: str,
        deltas: Sequence[Delta],
        outcome: Outcome,
        error: ServeError | None = None,
    ) -> None:
        answer = Answer(
            question=question,
            text="".join(delta.text for delta in deltas),
            finish_reason=outcome,
            usage=next((delta.usage for delta in reversed(deltas) if delta.usage), None),
            model=self._answerer.model,
            error=error,
        )
        self._unanswered = question
        if answer.text or outcome in ("stop", "length"):
            self.history = self.history.answered(question, answer.text)
            self._unanswered = None
        self._view.ended(answer)
        if outcome == "length":
            self._notes.say("the answer was cut: it reached --max-new-tokens")

    async def _obey(self, said: Command) -> None:
        match said:
            case Command("/image", source):
                self._attach(await self._attachments.image(source), source)
            case Command("/video", source):
                self._attach(await self._attachments.video(source), source)
            case Command("/system", text):
                self.history = replace(self.history, system=words_of(text) or None)
                self._notes.say("system prompt set" if text else "no system prompt")
            case Command("/again"):
                await self._ask_again()
            case Command("/reset"):
                self._unanswered = None
                self.history = History(system=self.history.system)
                self._notes.say("the conversation is empty; give pictures again with /image")
            case Command("/save", file):
                saved.save(file, self._answerer.model, self.history)
                self._notes.say(f"{self._size()} saved to {file}")
            case Command("/load", file):
                self._load(file)
            case _:
                self._notes.help()

    async def _ask_again(self) -> None:
        question = self._unanswered
        if question is None:
            self.history, question = self.history.taken_back()
        await self.ask(question)

    def _attach(self, part: Media, source: str) -> None:
        self.history = self.history.with_media(part)
        self._notes.say(f"{source} goes with the next question")

    def _load(self, file: str) -> None:
        model, self.history = saved.load(file)
        self._unanswered = None
        self._notes.say(f"{self._size()} loaded from {file}")
        if model != self._answerer.model:
            self._notes.say(f"{model} answered them; {self._answerer.model} goes on")

    def _size(self) -> str:
        questions = len(self.history.turns) // 2
        return "1 question" if questions == 1 else f"{questions} questions"


def _reason(deltas: Sequence[Delta]) -> Outcome:
    return next((delta.finish_reason for delta in reversed(deltas) if delta.finish_reason), "stop")
