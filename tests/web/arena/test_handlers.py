"""A battle is the same for both, blind until its vote, and has one vote."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.arena.tally import Winner
from llava_serve.errors import InvalidField, MediaUnreadable, QuestionEmpty, StillAnswering
from llava_serve.storage.battles import Battles
from llava_serve.web.arena.handlers import ArenaHandlers
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.sessions import Address, Known, Place, Sessions
from tests.web.arena.conftest import Cluster
from tests.web.conftest import settled

NAMES = ("secret-one", "secret-two")


def question(text: str) -> dict[str, Any]:
    return {"text": text, "files": []}


def begun() -> Place:
    return Place(ChatState("arena"), Known())


async def asked(handlers: ArenaHandlers, place: Place, text: str = "which?", tag: str = "") -> None:
    await handlers.submit(place, question(text), tag)
    await settled(place.conversation)


async def shown(handlers: ArenaHandlers, place: Place) -> str:
    """Return all that a browser gets of a battle and its controls."""
    drawn = await handlers.draw(place.conversation, None)
    place.menu_shown = None
    controls = {**handlers.view(place.conversation), **handlers.refresh(place)}
    return json.dumps([*drawn.settled, drawn.live, drawn.notice, str(controls)])


def names_in(text: str) -> list[str]:
    return [name for name in NAMES if name in text]


def votes(services: Services) -> int:
    return sum(one.votes for one in Battles(services.store).tallies())


async def test_no_name_is_shown_before_the_vote_and_both_after_it(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await handlers.submit(place, question("which?"), "")
    while place.conversation.is_busy:  # at every step of the answers
        assert names_in(await shown(handlers, place)) == []
        await place.conversation.pulse.wait()
    before = await shown(handlers, place)
    assert names_in(before) == []
    assert "token in" not in before and "first token" not in before
    await handlers.elect("a", place, "")
    after = await shown(handlers, place)
    assert names_in(after) == [*NAMES]
    assert "1 token in" in after
    battle = place.conversation.battle
    assert battle is not None
    assert f"A is <b>{battle.models[0]}</b>, B is <b>{battle.models[1]}</b>" in after


async def test_both_are_asked_the_same_with_the_same_seed(
    cluster: Cluster, upload_folder: Path
) -> None:
    await cluster.join(*NAMES)
    (upload_folder / "0").mkdir(parents=True)
    dot = upload_folder / "0" / "dot.png"
    Image.new("RGB", (6, 4), (200, 0, 0)).save(dot)
    handlers, place = ArenaHandlers(cluster.services), begun()
    first = {"text": "first", "files": [str(dot)]}
    await handlers.submit(place, first, "")
    await settled(place.conversation)
    await asked(handlers, place, "second")
    one, other = (cluster.engines[name].asked for name in NAMES)
    assert len(one) == len(other) == 2
    for mine, theirs in zip(one, other, strict=True):
        assert mine.sampling == theirs.sampling
        assert mine.sampling.seed is not None
        assert mine.prompt == theirs.prompt
        assert "Image" in repr(mine.prompt)


async def test_a_question_that_is_refused_leaves_no_battle(
    cluster: Cluster, upload_folder: Path
) -> None:
    await cluster.join(*NAMES)
    handlers, place, store = ArenaHandlers(cluster.services), begun(), cluster.services.store
    gone = {"text": "which?", "files": [str(upload_folder / "gone.png")]}
    await handlers.submit(place, gone, "")
    assert isinstance(place.conversation.notice, MediaUnreadable)
    assert place.conversation.battle is None and not Battles(store).met()
    assert [*store.conversations()] == []
    await asked(handlers, place)
    await handlers.submit(place, gone, "")  # a second question leaves it as it is
    assert place.conversation.battle is not None
    await handlers.elect("a", place, "")
    assert votes(cluster.services) == 1


async def test_a_vote_counts_once_however_often_it_comes(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    other_tab = Place(place.conversation, Known())
    await asyncio.gather(
        handlers.elect("a", place, ""),
        handlers.elect("b", place, ""),
        handlers.elect("b", other_tab, ""),
    )
    await handlers.elect("tie", place, "")
    assert votes(cluster.services) == 1
    battle = place.conversation.battle
    assert battle is not None and battle.winner == "a"
    view = handlers.view(place.conversation)
    assert not any(view[winner]["interactive"] for winner in ("a", "b", "tie", "both_bad"))


async def test_a_vote_that_another_process_took_stands(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    elsewhere = Place(await found_again(cluster.services, place.conversation.id), Known())
    await ArenaHandlers(cluster.services).elect("both_bad", elsewhere, "")
    await handlers.elect("a", place, "")
    assert votes(cluster.services) == 1
    assert place.conversation.battle is not None
    assert place.conversation.battle.winner == "both_bad"


async def found_again(services: Services, conversation_id: str) -> ChatState:
    """Return a conversation as a process finds it that has just started."""
    session = await Sessions(services.store, services.media).of(
        "tab", Address(arena=conversation_id)
    )
    return session.arena.conversation


async def test_a_battle_is_blind_and_open_after_a_restart(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    again = Place(await found_again(cluster.services, place.conversation.id), Known())
    assert names_in(await shown(handlers, again)) == []
    await asked(handlers, again, "and now?")
    assert [len(engine.asked) for engine in cluster.engines.values()] == [2, 2]
    await handlers.elect("b", again, "")
    assert votes(cluster.services) == 1


@pytest.mark.parametrize("kind", ["chat", "compare"])
async def test_no_other_tab_shows_a_battle(cluster: Cluster, kind: str) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    sessions = Sessions(cluster.services.store, cluster.services.media)
    session = await sessions.of("tab", Address(**{kind: place.conversation.id}))
    assert session.chat.conversation.exchanges == session.compare.conversation.exchanges == []


async def test_the_task_is_kept_with_the_battle(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place, tag="chart")
    await handlers.elect("a", place, "chart")
    assert len(Battles(cluster.services.store).tallies(tag="chart")) == 1
    with pytest.raises(InvalidField, match="task"):
        await handlers.submit(begun(), question("which?"), "singing")


async def test_an_answer_that_fails_leaves_no_vote_and_tells_no_name(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    await cluster.crash(NAMES[0])
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    text = await shown(handlers, place)
    assert "This model could not answer." in text
    assert "this battle ends without a vote" in text
    assert names_in(text) == []
    await handlers.elect("a", place, "")
    assert votes(cluster.services) == 0


async def test_answers_that_were_stopped_leave_no_vote(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await handlers.submit(place, question("word " * 1000), "")
    await handlers.stop(place)
    await settled(place.conversation)
    await handlers.elect("a", place, "")
    assert votes(cluster.services) == 0
    stopped = place.conversation
    await asked(handlers, place, "once more?")
    assert place.conversation is not stopped
    assert [one.text for one in place.conversation.exchanges] == ["once more?"]


async def test_nobody_votes_while_an_answer_runs(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await handlers.submit(place, question("word " * 500), "")
    await handlers.elect("a", place, "")
    await handlers.submit(place, question("another"), "")
    assert isinstance(place.conversation.notice, StillAnswering)
    await settled(place.conversation)
    assert votes(cluster.services) == 0


async def test_after_the_vote_comes_a_new_battle(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    first = place.conversation
    assert "Ask two models" in str(handlers.view(first)["composer"])
    await handlers.elect("tie", place, "")
    assert "a new battle begins" in str(handlers.view(first)["composer"])
    await handlers.submit(place, question(" "), "")
    assert (place.conversation, type(first.notice)) == (first, QuestionEmpty)
    await asked(handlers, place, "and?")
    assert place.conversation is not first
    assert [len(one.exchanges) for one in (first, place.conversation)] == [1, 1]
    assert names_in(await shown(handlers, place)) == []
    assert sum(Battles(cluster.services.store).met().values()) == 2


@pytest.mark.parametrize(
    ("models", "said"),
    [
        pytest.param((), "no model is served", id="none"),
        pytest.param(NAMES[:1], "only one model is served", id="one"),
    ],
)
async def test_fewer_than_two_models_are_said_in_a_sentence(
    cluster: Cluster, models: tuple[str, ...], said: str
) -> None:
    await cluster.join(*models)
    handlers, place = ArenaHandlers(cluster.services), begun()
    assert said in handlers.refresh(place)["status"].lower()
    view = await handlers.submit(place, question("which?"), "")
    assert said in str(place.conversation.notice)
    assert "value" not in view["composer"]  # what was typed stays
    assert place.conversation.battle is None


async def test_an_empty_question_begins_no_battle(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await handlers.submit(place, question("  "), "")
    assert Battles(cluster.services.store).met() == {}


@pytest.mark.parametrize("winner", ["a", "b", "tie", "both_bad"])
async def test_each_vote_is_kept_as_it_was_given(cluster: Cluster, winner: Winner) -> None:
    await cluster.join(*NAMES)
    handlers, place = ArenaHandlers(cluster.services), begun()
    await asked(handlers, place)
    await handlers.elect(winner, place, "")
    (tally,) = Battles(cluster.services.store).tallies()
    kept = {"a": tally.wins_a, "b": tally.wins_b, "tie": tally.ties, "both_bad": tally.both_bad}
    assert kept == {**dict.fromkeys(kept, 0), winner: 1}


async def test_a_model_of_text_alone_takes_no_part(cluster: Cluster) -> None:
    await cluster.join(*NAMES)
    handlers, link = ArenaHandlers(cluster.services), cluster.services.link
    assert "2 models take part" in str(handlers.refresh(begun()))
    seeing, other = link.cards
    link.cards = (seeing, other.model_copy(update={"accepts_images": False}))
    assert "take part" not in str(handlers.refresh(begun()))
