"""A judge is asked in both orders, its votes stay apart, and nothing that fails is dropped."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from PIL import Image

from llava_serve import judge
from llava_serve.arena.tally import Tally, Winner
from llava_serve.http import serving
from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnMediaRow, TurnRow

Opinion = Callable[[str, str], str]
"""What the judge says of the answers in the order in which it gets them."""


def better_first(*_: str) -> str:
    return "The first one convinces me.\nVERDICT: 1"


def honest(one: str, other: str) -> str:
    if ("right" in one) == ("right" in other):
        return "VERDICT: tie" if "right" in one else "**VERDICT: both bad**"
    return f"Reasons.\nVERDICT: {1 if 'right' in one else 2}"


def silent(*_: str) -> str:
    return "I cannot say which is better."


@dataclass
class JudgeServer:
    """A server of chat completions that streams an opinion, and remembers what it was asked."""

    opinion: Opinion
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            body = await request.json()
            self.asked.append(body)
            if self.status != 200:
                return Response('{"error": {"message": "overloaded"}}', self.status)
            texts = [one["text"] for one in body["messages"][1]["content"] if "text" in one]
            answers = [text for text in texts if text.startswith("<answer")]
            return Response(_stream(self.opinion(*answers)), media_type="text/event-stream")

        return app

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        async with serving.served(self.app()) as address:
            yield address


def _stream(text: str) -> str:
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "judge-7b"}
    parts = [({"content": part}, None) for part in re.findall(r"[\s\S]{1,5}", text)]
    choices = [
        {"index": 0, "delta": delta, "finish_reason": reason}
        for delta, reason in [*parts, ({}, "stop")]
    ]
    lines = [f"data: {json.dumps(head | {'choices': [one]})}\n\n" for one in choices]
    return "".join(lines) + "data: [DONE]\n\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(default_url(tmp_path))
    store.create_tables()
    yield store
    store.close()


def fought(
    store: Store,
    name: str,
    answers: tuple[str, str],
    *,
    people: Winner | None = None,
    images: tuple[TurnMediaRow, ...] = (),
    state: str = "done",
) -> None:
    """Keep a battle of `x`, on the left, and `y`."""
    battles = Battles(store)
    battle = battles.begin(name, ("x", "y"))
    question = TurnRow(exchange=0, role="user", text="What is it?", media=[*images])
    turns = [
        TurnRow(
            exchange=0, slot=slot, role="assistant", text=text, model="m", details={"state": state}
        )
        for slot, text in enumerate(answers)
    ]
    store.add_turns(name, "arena", [question, *turns])
    if people is not None:
        battles.vote(battle, BattleVote(winner=people, lengths=(1, 1)))


@dataclass
class Run:
    code: int
    told: dict[str, Any]


async def judged(
    server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], *flags: str
) -> Run:
    async with server.served() as address:
        argv = ["--server", f"{address}/v1", "--model", "judge-7b", "--json", *flags]
        argv += ["--state-dir", str(tmp_path)]
        code = await asyncio.to_thread(judge.main, argv)
    return Run(code, json.loads(capsys.readouterr().out))


async def test_a_better_answer_wins_on_either_side(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"))
    fought(store, "c2", ("wrong", "right"))
    fought(store, "c3", ("wrong", "wrong"))
    fought(store, "c4", ("right", "right"))
    server = JudgeServer(honest)
    run = await judged(server, tmp_path, capsys)
    assert (run.code, run.told["judged"], run.told["consistent"]) == (0, 4, 4)
    assert Battles(store).tallies("judge") == [Tally("x", "y", 1, 1, 1, 1)]
    assert Battles(store).tallies("people") == []
    assert len(server.asked) == 8


async def test_a_judge_that_goes_by_the_place_has_called_a_tie(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"))
    run = await judged(JudgeServer(better_first), tmp_path, capsys)
    assert (run.told["judged"], run.told["consistent"]) == (1, 0)
    assert Battles(store).tallies("judge") == [Tally("x", "y", ties=1)]


async def test_both_orders_bring_the_same_question_and_picture(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "cat.png")
    image = MediaStore(tmp_path / "media", 10_000).put(tmp_path / "cat.png")
    fought(store, "c1", ("ONE", "TWO"), images=(TurnMediaRow.of(image),))
    server = JudgeServer(honest)
    await judged(server, tmp_path, capsys)
    one, swapped = ([*body["messages"][1]["content"]] for body in server.asked)
    assert one[0] == swapped[0]
    assert one[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert one[1] == swapped[1] == {"type": "text", "text": "Question 1: What is it?"}
    assert ["ONE" in part["text"] for part in one[2:4]] == [True, False]
    assert ["ONE" in part["text"] for part in swapped[2:4]] == [False, True]
    assert not any(name in json.dumps(server.asked) for name in ('"x"', '"y"'))


async def test_what_fails_is_counted_and_asked_again_and_the_rest_is_not(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"))
    failed = await judged(JudgeServer(silent), tmp_path, capsys)
    assert (failed.code, failed.told["judged"]) == (1, 0)
    assert failed.told["failures"] == {"the judge came to no verdict": 1}
    refused = await judged(JudgeServer(honest, status=500), tmp_path, capsys)
    assert (refused.code, sum(refused.told["failures"].values())) == (1, 1)
    assert Battles(store).tallies("judge") == []

    mended = await judged(JudgeServer(honest), tmp_path, capsys)
    assert (mended.code, mended.told["judged"]) == (0, 1)
    server = JudgeServer(honest)
    again = await judged(server, tmp_path, capsys)
    assert (again.told["judged"], server.asked) == (0, [])


async def test_a_run_that_is_cut_goes_on_where_it_was(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        fought(store, f"c{number}", ("right", "wrong"))
    server = JudgeServer(honest)
    first = await judged(server, tmp_path, capsys, "--limit", "2")
    second = await judged(server, tmp_path, capsys)
    assert (first.told["judged"], second.told["judged"], len(server.asked)) == (2, 1, 6)


async def test_an_answer_that_is_not_whole_is_not_judged(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"), state="failed")
    server = JudgeServer(honest)
    run = await judged(server, tmp_path, capsys)
    assert (run.code, run.told["skipped"], server.asked) == (0, 1, [])


async def test_agreement_with_people_is_told_of_the_battles_that_both_judged(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"), people="a")
    fought(store, "c2", ("wrong", "right"), people="b")
    fought(store, "c3", ("wrong", "wrong"), people="tie")
    fought(store, "c4", ("right", "wrong"), people="b")
    fought(store, "c5", ("right", "wrong"))
    told = (await judged(JudgeServer(honest), tmp_path, capsys)).told["agreement"]
    assert (told["battles"], told["rate"]) == (4, 0.75)
    # By chance: a 1/4 * 2/4, b 2/4 * 1/4, tie 1/4 * 1/4.
    assert told["kappa"] == pytest.approx((0.75 - 5 / 16) / (1 - 5 / 16))


def test_a_judge_that_is_not_there_is_one_sentence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"))
    argv = ["--server", "http://127.0.0.1:9", "--model", "m", "--state-dir", str(tmp_path)]
    assert judge.main(argv) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err
    assert len(Battles(store).unjudged("m")) == 1


async def test_without_json_the_report_is_lines(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fought(store, "c1", ("right", "wrong"), people="a")
    async with JudgeServer(honest).served() as address:
        argv = ["--server", address, "--model", "judge-7b", "--state-dir", str(tmp_path)]
        assert await asyncio.to_thread(judge.main, argv) == 0
    out = capsys.readouterr().out
    assert "judged by judge-7b: 1, with the same verdict in both orders: 1" in out
    assert "agreement with people: 100 % of 1 battles" in out
