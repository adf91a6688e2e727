"""Conversations, turns and votes come back as they were kept."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from llava_serve.errors import StorageFailed
from llava_serve.storage import export
from llava_serve.storage.battle_tables import BattleVoteRow
from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.storage.database import make_state_dir
from llava_serve.storage.filetypes import BY_FORMAT
from llava_serve.storage.identity import Identity
from llava_serve.storage.media import StoredFile
from llava_serve.storage.presets import Presets
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnMediaRow, TurnRow

PICTURE = StoredFile("a" * 64, BY_FORMAT["PNG"], 12, "cat.png")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    make_state_dir(tmp_path / "state")
    store = Store(default_url(tmp_path / "state"), clock=lambda: 1_700_000_000.0)
    store.create_tables()
    return store


def test_a_conversation_is_one_line_of_json(store: Store) -> None:
    question = TurnRow(exchange=0, role="user", text="Größe?", media=[TurnMediaRow.of(PICTURE)])
    answer = TurnRow(
        exchange=0,
        role="assistant",
        text="big",
        model="tiny",
        details={"completion_tokens": 1},
        slot=0,
        parent=question,
    )
    first, second = store.add_turns("c1", "chat", [question, answer])
    store.add_vote("c1", second, "up")
    (line,) = export.lines(store)
    assert line.endswith("}\n") and "Größe?" in line
    assert json.loads(line) == {
        "id": "c1",
        "kind": "chat",
        "owner": None,
        "created_at": "2023-11-14T22:13:20.000+00:00",
        "turns": [
            {
                "id": first,
                "parent": None,
                "exchange": 0,
                "slot": None,
                "role": "user",
                "text": "Größe?",
                "model": None,
                "media": [{"sha256": "a" * 64, "extension": "png", "name": "cat.png"}],
                "details": {},
                "replaced": False,
                "created_at": "2023-11-14T22:13:20.000+00:00",
            },
            {
                "id": second,
                "parent": first,
                "exchange": 0,
                "slot": 0,
                "role": "assistant",
                "text": "big",
                "model": "tiny",
                "media": [],
                "details": {"completion_tokens": 1},
                "replaced": False,
                "created_at": "2023-11-14T22:13:20.000+00:00",
            },
        ],
        "votes": [
            {
                "turn": second,
                "kind": "up",
                "model": None,
                "compared": [],
                "counts": True,
                "created_at": "2023-11-14T22:13:20.000+00:00",
            }
        ],
    }


def test_a_vote_of_a_comparison_names_what_it_compared(store: Store) -> None:
    turns = [TurnRow(exchange=0, role="assistant", text="1", model=name) for name in ("a", "b")]
    first, second = store.add_turns("c1", "compare", turns)
    store.add_vote("c1", second, "better", model="b", compared=[first, second])
    (line,) = export.lines(store)
    (vote,) = json.loads(line)["votes"]
    assert (vote["turn"], vote["model"], vote["compared"]) == (second, "b", [first, second])


def test_replaced_turns_stay_and_say_so(store: Store) -> None:
    (old,) = store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="old")])
    store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="new")])
    store.mark_replaced([old])
    (line,) = export.lines(store)
    assert [turn["replaced"] for turn in json.loads(line)["turns"]] == [True, False]


def test_more_conversations_than_a_page_are_all_exported(store: Store) -> None:
    for number in range(150):
        turn = TurnRow(exchange=0, role="user", text=str(number))
        store.add_turns(f"c{number:03}", "chat", [turn])
    exported = [json.loads(line)["turns"][0]["text"] for line in export.lines(store)]
    assert exported == [str(number) for number in range(150)]


def test_the_file_is_written_ahead(store: Store, tmp_path: Path) -> None:
    """Readers do not block the page's writes."""
    with sqlite3.connect(tmp_path / "state" / "conversations.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_another_process_finds_what_was_kept(store: Store, tmp_path: Path) -> None:
    store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="hello")])
    store.close()
    assert len(list(export.lines(Store(default_url(tmp_path / "state"))))) == 1


def test_a_vote_on_a_turn_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(StorageFailed, match="FOREIGN KEY"):
        store.add_vote("nowhere", 7, "up")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("sqlite:////no/such/folder/x.sqlite", "unable to open", id="no folder"),
        pytest.param("not a url", "Could not parse", id="no url"),
        pytest.param("oracle://host/db", "driver is missing", id="no driver"),
        pytest.param("postgre://host/db", "no driver of that name", id="unknown driver"),
    ],
)
def test_a_database_that_cannot_be_opened_says_why(url: str, reason: str) -> None:
    with pytest.raises(StorageFailed, match=reason) as refused:
        Store(url).create_tables()
    assert ("--state-dir" in refused.value.remedy) == url.startswith("sqlite")
    assert "--database" in refused.value.remedy


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="file/state"):
        make_state_dir(tmp_path / "file" / "state")


def test_only_the_owner_may_read_what_is_kept(store: Store, tmp_path: Path) -> None:
    store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="a secret")])
    files = list((tmp_path / "state").iterdir())
    assert len(files) == 3  # the database and its log
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_what_is_old_is_deleted_with_the_files_only_it_had(tmp_path: Path) -> None:
    now = 100.0
    store = Store(default_url(tmp_path), clock=lambda: now)
    store.create_tables()
    other = replace(PICTURE, sha256="b" * 64)
    old = [
        TurnRow(
            exchange=0,
            role="user",
            text="very old",
            media=[TurnMediaRow.of(PICTURE), TurnMediaRow.of(other)],
        ),
        TurnRow(exchange=0, role="assistant", text="an answer", model="tiny"),
    ]
    _, answer = store.add_turns("old", "compare", old)
    store.add_vote("old", answer, "better", model="tiny", compared=[answer])
    now = 200.0
    store.add_turns(
        "new",
        "chat",
        [TurnRow(exchange=0, role="user", text="new", media=[TurnMediaRow.of(other)])],
    )
    deleted = store.delete_before(150.0)
    assert (deleted.conversations, deleted.filenames) == (1, [PICTURE.filename])
    assert [json.loads(line)["id"] for line in export.lines(store)] == ["new"]
    store.close()
    assert b"very old" not in (tmp_path / "conversations.sqlite").read_bytes()


def test_conversations_of_one_user_are_exported_and_deleted_alone(store: Store) -> None:
    for owner in ("alice", "bob", None):
        picture = TurnRow(exchange=0, role="user", text="hello", media=[TurnMediaRow.of(PICTURE)])
        store.add_turns(f"of {owner}", "chat", [picture], Identity(owner))
    assert [json.loads(line)["id"] for line in export.lines(store, "alice")] == ["of alice"]
    deleted = store.delete_before(2_000_000_000.0, "alice")
    assert (deleted.conversations, deleted.filenames) == (1, [])
    assert [row.id for row in store.conversations()] == ["of None", "of bob"]


def test_a_file_is_known_by_whose_conversations_have_it(store: Store) -> None:
    picture = TurnRow(exchange=0, role="user", text="hello", media=[TurnMediaRow.of(PICTURE)])
    store.add_turns("c1", "chat", [picture], Identity("alice"))
    assert store.has_media("alice", PICTURE.sha256)
    assert not store.has_media("bob", PICTURE.sha256)
    assert not store.has_media("alice", "b" * 64)


def test_what_is_deleted_of_a_user_is_all_but_votes_on_models(tmp_path: Path) -> None:
    store = Store(default_url(tmp_path), clock=lambda: 10.0)
    store.create_tables()
    battles, presets = Battles(store), Presets(store)
    alice, bob = Identity("alice"), Identity("bob")
    for whose in (alice, bob):
        presets.save(whose, "short", {"system": "be brief"})
        battle = battles.begin(f"of-{whose.owner}", ("x", "y"), whose=whose)
        battles.vote(battle, BattleVote(winner="a", lengths=(1, 2)))
        failed = {"error": "said too much"}
        vote = BattleVote(winner=None, lengths=(0, 0), judge="z", details=failed)
        battles.vote(battle, vote)
    store.delete_before(10.0)
    assert presets.names(alice) == ["short"]
    store.delete_before(11.0, "alice")
    assert (presets.names(alice), presets.names(bob)) == ([], ["short"])
    with store.transaction() as session:
        votes = session.scalars(select(BattleVoteRow).order_by(BattleVoteRow.id)).all()
        assert [(one.judge, one.details) for one in votes] == [("", {}), ("", {}), ("z", failed)]
    assert battles.of("of-alice") is None and len(battles.tallies()) == 1
    store.delete_before(11.0)
    assert presets.names(bob) == []
