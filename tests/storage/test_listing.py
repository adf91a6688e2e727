"""The list of conversations shows what is one's own, and does nothing to anything else."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from llava_serve.storage import listing
from llava_serve.storage.filetypes import BY_FORMAT
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.listing import ConversationList, title_of
from llava_serve.storage.media import StoredFile
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnMediaRow, TurnRow

ALICE, BOB, BROWSER = Identity(owner="alice"), Identity(owner="bob"), Identity(browser="b" * 64)
STRANGERS = pytest.mark.parametrize(
    "stranger", [BOB, BROWSER, NOBODY], ids=["another user", "a browser", "nobody"]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Its clock goes on by a second each time it is read."""
    seconds = count(1_700_000_000)
    store = Store(default_url(tmp_path), clock=lambda: next(seconds))
    store.create_tables()
    yield store
    store.close()


@pytest.fixture
def listed(store: Store) -> ConversationList:
    return ConversationList(store)


def ask(store: Store, name: str, text: str, whose: Identity = ALICE, *files: StoredFile) -> int:
    question = TurnRow(exchange=0, role="user", text=text)
    question.media = [TurnMediaRow.of(file) for file in files]
    answer = TurnRow(exchange=0, slot=0, role="assistant", text=f"on {name}", model="echo")
    return store.add_turns(name, "chat", [question, answer], whose)[0]


def file(letter: str) -> StoredFile:
    return StoredFile(letter * 64, BY_FORMAT["PNG"], 12, f"{letter}.png")


def titles(listed: ConversationList, whose: Identity = ALICE, search: str = "") -> list[str]:
    return [entry.title for entry in listed.entries(whose, search)[0]]


def test_the_one_used_last_comes_first(store: Store, listed: ConversationList) -> None:
    for name in ("one", "two", "three"):
        ask(store, name, name)
    ask(store, "one", "again")
    assert titles(listed) == ["one", "three", "two"]


def test_there_are_no_more_than_were_asked_for(store: Store, listed: ConversationList) -> None:
    for number in range(3):
        ask(store, f"c{number}", f"question {number}")
    found, has_more = listed.entries(ALICE, count=2)
    assert ([one.id for one in found], has_more) == (["c2", "c1"], True)
    assert listed.entries(ALICE, count=3)[1] is False


@pytest.mark.parametrize(
    ("question", "filename", "title"),
    [
        ("What  is\nthis?", None, "What is this?"),
        ("", "cat.png", "cat.png"),
        ("  ", None, ""),
        ("word " * 30, None, "word word word word word word word word word word word …"),
        ("x" * 100, None, "x" * 58 + " …"),
    ],
    ids=["spaces", "a picture alone", "nothing", "cut at a word", "one long word"],
)
def test_a_title_is_the_first_question(question: str, filename: str | None, title: str) -> None:
    assert title_of(question, filename) == title
    assert len(title) <= 60


def test_a_question_that_was_edited_gives_no_title(store: Store, listed: ConversationList) -> None:
    store.mark_replaced([ask(store, "c", "first try", ALICE)])
    assert titles(listed) == ["first try"]  # its next version may never have been written
    assert titles(listed, search="first") == ["first try"]
    ask(store, "c", "second try")
    assert titles(listed) == ["second try"]
    assert titles(listed, search="first") == []


def test_search_finds_every_word_in_titles_and_texts(
    store: Store, listed: ConversationList
) -> None:
    ask(store, "c1", "a RED circle")
    ask(store, "c2", "a red square, 100% ÜBER_all")
    listed.rename(ALICE, "c1", "Shapes")
    ask(store, "c3", "red circle", BOB)
    assert titles(listed, search="circle Red") == ["Shapes"]
    assert titles(listed, search="shapes") == ["Shapes"]
    assert titles(listed, search="on c2") == ["a red square, 100% ÜBER_all"]  # in an answer
    assert titles(listed, search="red") == ["a red square, 100% ÜBER_all", "Shapes"]
    assert titles(listed, search="über") == ["a red square, 100% ÜBER_all"]
    for sign in ("%%", "_r", "\\", "'", "\0"):
        assert titles(listed, search=f"circle{sign}x") == []


def test_the_newest_are_searched_and_no_more(
    store: Store, listed: ConversationList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_SEARCHED", 2)
    for name in ("c1", "c2", "c3"):
        ask(store, name, f"question of {name}")
    assert titles(listed, search="question") == ["question of c3", "question of c2"]


def test_a_title_can_be_given_and_taken_back(store: Store, listed: ConversationList) -> None:
    ask(store, "c", "what?")
    assert listed.rename(ALICE, "c", "  My \n title " + "x" * 300)
    (title,) = titles(listed)
    assert title.startswith("My title xxx") and len(title) == 200
    assert listed.title(ALICE, "c") == title
    assert listed.rename(ALICE, "c", " ")
    assert titles(listed) == ["what?"]


def test_what_is_deleted_is_gone_with_the_files_of_nobody_else(
    store: Store, listed: ConversationList
) -> None:
    ask(store, "c1", "mine", ALICE, file("a"), file("b"))
    ask(store, "c2", "theirs", BOB, file("b"))
    assert listed.delete(ALICE, "c1") == [file("a").filename]
    assert titles(listed) == [] and store.conversation("c1") is None
    assert listed.used([file("a").filename, file("b").filename]) == {file("b").filename}
    assert titles(listed, BOB) == ["theirs"]
    assert listed.delete(ALICE, "c1") is None


@STRANGERS
def test_another_ones_is_as_if_it_were_not_there(
    store: Store, listed: ConversationList, stranger: Identity
) -> None:
    ask(store, "c", "a secret", ALICE, file("a"))
    assert titles(listed, stranger) == titles(listed, stranger, "secret") == []
    assert listed.conversation(stranger, "c") is None
    assert listed.title(stranger, "c") is None
    assert not listed.rename(stranger, "c", "mine")
    assert listed.delete(stranger, "c") is None
    assert titles(listed) == ["a secret"]
    row = listed.conversation(ALICE, "c")
    assert row is not None and [turn.text for turn in row.turns] == ["a secret", "on c"]


def test_a_browser_sees_nothing_of_users_nor_of_other_browsers(
    store: Store, listed: ConversationList
) -> None:
    ask(store, "c1", "of alice")
    ask(store, "c2", "of the browser", BROWSER)
    ask(store, "c3", "of nobody", NOBODY)
    assert titles(listed, BROWSER) == ["of the browser"]
    assert titles(listed, Identity(browser="c" * 64)) == []
    assert titles(listed, Identity(owner="alice", browser=BROWSER.browser)) == ["of alice"]
    assert titles(listed, NOBODY) == []
