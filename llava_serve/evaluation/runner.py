"""Runner: asks the questions that have no answer yet, several at once, and writes each answer."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from llava_serve.errors import CommandError, ServeError
from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.concurrency import Concurrency
from llava_serve.evaluation.outage import Outage, fault_of, pause_s
from llava_serve.evaluation.progress import Tracker

Item = TypeVar("Item")
Asked = TypeVar("Asked", contravariant=True)


class Asks(Protocol[Asked]):
    """Asks one question, whatever stands for it."""

    async def ask(self, index: int, question: Asked, /) -> AnswerRecord:
        """Return the answer.

        Raises:
            CommandError: no question can be answered.
            ServeError: there is no answer to this one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Runner(Generic[Item]):
    """Asks as many at once as there are places; a question that is asked holds one.

    `attempts` is how often a question is asked that the server fails at; while the server answers
    nobody, nothing is counted.
    """

    asker: Asks[Item]
    answers: AnswersFile
    concurrency: Concurrency
    outage: Outage
    attempts: int
    retry_failed: bool = False

    def is_open(self, index: int) -> bool:
        """Tell whether a question is to be asked."""
        state = self.answers.state(index)
        return state == "open" or (state == "failed" and self.retry_failed)

    async def run(self, questions: Iterable[Item], tracker: Tracker) -> None:
        """Ask what is open; what was answered before an error is kept.

        Raises:
            CommandError: the server answers nobody any more, or an answer cannot be written.
        """
        pending = self._pending(questions)
        try:
            async with asyncio.TaskGroup() as asked:
                # Reading the next question may take a file, or a picture that stands in one.
                while (following := await asyncio.to_thread(next, pending, None)) is not None:
                    await self.concurrency.take()
                    asked.create_task(self._settle(*following, tracker))
        except ExceptionGroup as exc:
            raise _first(exc) from exc

    def _pending(self, questions: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        return (
            (index, question) for index, question in enumerate(questions) if self.is_open(index)
        )

    async def _settle(self, index: int, question: Item, tracker: Tracker) -> None:
        try:
            record = await self._record(index, question)
            self.answers.append(record)
            tracker.settled(failed=record.failure is not None)
        finally:
            await self.concurrency.give_back()

    async def _record(self, index: int, question: Item) -> AnswerRecord:
        failures = waits = 0
        answered = self.outage.answered
        while True:
            try:
                record = await self.asker.ask(index, question)
            except CommandError:
                raise
            except ServeError as exc:
                fault, others = fault_of(exc), self.outage.answered - answered
                answered += others  # since this question was asked the last time
                is_everybodys = fault == "server" or (fault == "either" and not others)
                if is_everybodys and await self.outage.wait(waits, exc):
                    waits += 1
                    continue
                failures += 1
                is_to_ask = fault != "final" and not is_everybodys
                if is_to_ask and failures < self.attempts:
                    await asyncio.sleep(pause_s(failures - 1, exc))
                    continue
                if fault == "final":
                    self.outage.over()  # who refuses one question for itself is there
                failure = AnswerFailure(code=exc.code, message=exc.message)
                return AnswerRecord(index=index, failure=failure, attempts=failures)
            self.outage.over()
            return record.model_copy(update={"attempts": failures + 1})


def _first(error: BaseException) -> BaseException:
    """Return the first error of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
