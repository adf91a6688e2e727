"""Every question gets its answer or its failure, whatever the server does in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response

from llava_serve.errors import CommandError
from llava_serve.evaluation import outage
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.asking import Asker
from llava_serve.evaluation.concurrency import Concurrency
from llava_serve.evaluation.image_changes import original
from llava_serve.evaluation.outage import Outage
from llava_serve.evaluation.progress import RunCounts
from llava_serve.evaluation.question import Question
from llava_serve.evaluation.runner import Runner
from llava_serve.evaluation.tasks.chat_lines import ChatLines
from tests.evaluation.answering import FIELDS, Answering, Behaviour, refusal, text_of, write_texts
from tests.until import bounded, until

QUESTIONS = 20


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds before something is asked again."""
    monkeypatch.setattr(outage, "_FIRST_S", 0.001)
    monkeypatch.setattr(outage, "_LONGEST_S", 0.01)


class Asked:
    """A runner over a small task and a server, and what it wrote."""

    def __init__(
        self, runner: Runner[Question], questions: ChatLines, answering: Answering
    ) -> None:
        self.runner, self._questions, self.answering = runner, questions, answering
        self.counts = RunCounts(QUESTIONS, 0)

    async def run(self) -> dict[int, AnswerRecord]:
        async with bounded("the end of the run"):
            await self.runner.run(self._questions.questions(), self.counts)
        return self.records()

    def records(self) -> dict[int, AnswerRecord]:
        return {record.index: record for record in self.runner.answers.in_order()}


@asynccontextmanager
async def asked(
    folder: Path, behave: Behaviour, *, places: int = 4, patience_s: float = 60.0
) -> AsyncIterator[Asked]:
    answering = Answering(behave)
    questions = ChatLines(write_texts(folder / "q.jsonl", QUESTIONS))
    async with answering.opened() as server:
        with AnswersFile(folder / "answers.jsonl", QUESTIONS) as answers:
            asker = Asker(server.client, FIELDS, original, with_logprobs=True)
            limit, waiting = Concurrency(places), Outage(patience_s)
            yield Asked(Runner(asker, answers, limit, waiting, 3), questions, answering)


def failing(text: str, times: int, answer: Response) -> Behaviour:
    """Answer one question so often with something else."""
    left = Counter({text: times})

    async def behave(body: dict[str, Any]) -> str | Response:
        if left[text_of(body)] > 0:
            left[text_of(body)] -= 1
            return answer
        return text_of(body)

    return behave


async def test_every_question_is_answered_once(tmp_path: Path) -> None:
    async with asked(tmp_path, failing("", 0, refusal(500))) as one:
        records = await one.run()
        assert [records[index].text for index in range(QUESTIONS)] == [
            f"q{index}" for index in range(QUESTIONS)
        ]
        assert sorted(one.answering.texts) == sorted(f"q{index}" for index in range(QUESTIONS))
        assert (one.counts.done, one.counts.failed) == (QUESTIONS, 0)
        assert one.runner.concurrency.taken == 0


async def test_no_more_are_asked_at_once_than_there_are_places(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def behave(body: dict[str, Any]) -> str:
        await gate.wait()
        return "yes"

    async with asked(tmp_path, behave, places=3) as one:
        running = asyncio.create_task(one.run())
        await until(lambda: one.answering.at_once == 3)
        gate.set()
        assert len(await running) == QUESTIONS
        assert one.answering.most_at_once == 3


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "context_length_exceeded"), (413, "media_too_large"), (422, "unprocessable")],
)
async def test_what_waiting_does_not_mend_fails_at_once(
    status: int, code: str, tmp_path: Path
) -> None:
    async with asked(tmp_path, failing("q3", 99, refusal(status, code))) as one:
        records = await one.run()
        assert one.answering.texts.count("q3") == 1
        failure = records[3].failure
        assert failure is not None
        assert (failure.code, failure.message) == (code, f"said {code}")
        assert sum(record.failure is not None for record in records.values()) == 1
        assert one.counts.failed == 1


async def test_what_passes_is_asked_again(tmp_path: Path) -> None:
    async with asked(tmp_path, failing("q3", 2, refusal(502, "worker_lost"))) as one:
        records = await one.run()
        assert (records[3].text, records[3].attempts) == ("q3", 3)
        assert records[4].attempts == 1


async def test_what_does_not_pass_fails_after_all_attempts(tmp_path: Path) -> None:
    async with asked(tmp_path, failing("q3", 99, refusal(500, "engine_failure"))) as one:
        records = await one.run()
        assert one.answering.texts.count("q3") == 3
        assert records[3].failure is not None
        assert records[3].attempts == 3
        assert records[4].text == "q4"


async def test_a_question_that_only_a_proxy_refuses_fails_while_others_are_answered(
    tmp_path: Path,
) -> None:
    proxys = Response("<html>Bad Gateway</html>", 502)
    async with asked(tmp_path, failing("q3", 10_000, proxys), places=2) as one:
        records = await one.run()
        failure = records[3].failure
        assert failure is not None
        assert failure.code == "unknown"
        assert sum(record.failure is not None for record in records.values()) == 1


async def test_the_last_question_that_a_proxy_refuses_fails_where_the_model_is_served(
    tmp_path: Path,
) -> None:
    async def serves() -> bool:
        return True

    proxys = Response("<html>Bad Gateway</html>", 504)
    async with asked(tmp_path, failing("q19", 10_000, proxys)) as one:
        one.runner = replace(one.runner, outage=Outage(0.2, serves))
        records = await one.run()
        assert records[19].failure is not None
        assert sum(record.failure is not None for record in records.values()) == 1


async def test_failed_questions_are_asked_again_only_where_that_is_wanted(tmp_path: Path) -> None:
    async with asked(tmp_path, failing("q3", 1, refusal(400, "bad"))) as one:
        await one.run()
        before = len(one.answering.asked)
        assert (await one.run())[3].failure is not None
        assert len(one.answering.asked) == before
        one.runner = replace(one.runner, retry_failed=True)
        assert (await one.run())[3].text == "q3"
        assert one.answering.texts[before:] == ["q3"]


@pytest.mark.parametrize(
    "answer",
    [refusal(429, "busy"), refusal(503, "no_worker", **{"Retry-After": "0"}), refusal(401)],
)
async def test_a_server_that_refuses_everybody_for_a_while_fails_no_question(
    answer: Response, tmp_path: Path
) -> None:
    refused = 0

    async def behave(body: dict[str, Any]) -> str | Response:
        nonlocal refused
        if len(one.answering.asked) > 8 and refused < 12:
            refused += 1
            return answer
        return text_of(body)

    async with asked(tmp_path, behave) as one:
        records = await one.run()
        assert [record.failure for record in records.values()] == [None] * QUESTIONS
        assert refused == 12


async def test_a_server_that_refuses_everybody_for_good_ends_the_run(tmp_path: Path) -> None:
    async def behave(body: dict[str, Any]) -> str | Response:
        return refusal(401, "invalid_api_key") if len(one.answering.asked) > 8 else "yes"

    async with asked(tmp_path, behave, patience_s=0.2) as one:
        with pytest.raises(CommandError, match="no question was answered for"):
            await one.run()
        records = one.records()
        assert len(records) == 8
        assert all(record.failure is None for record in records.values())
        one.answering.behave = failing("", 0, refusal(500))
        one.runner = replace(one.runner, outage=Outage(60))
        assert len(await one.run()) == QUESTIONS
        assert Counter(one.answering.texts[:8]).keys().isdisjoint(one.answering.texts[-12:])


async def test_a_run_that_is_cancelled_keeps_what_was_answered(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def behave(body: dict[str, Any]) -> str:
        if len(one.answering.asked) > 10:
            await gate.wait()
        return "yes"

    async with asked(tmp_path, behave, places=2) as one:
        running = asyncio.create_task(one.run())
        await until(lambda: len(one.records()) == 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(one.records()) == 10
        gate.set()
