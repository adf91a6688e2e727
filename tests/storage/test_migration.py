"""A database of an older version goes on working, with everything in it."""

import json
import sqlite3
from pathlib import Path

from sqlalchemy import inspect, update

from llava_serve.storage import export
from llava_serve.storage.identity import Identity
from llava_serve.storage.listing import ConversationList
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import ConversationRow, TurnRow
from llava_serve.web.persistence import restored

# As the version before slots made it.
_OLD = """
CREATE TABLE conversations (
    id VARCHAR(32) NOT NULL, kind VARCHAR(16) NOT NULL, created_at FLOAT NOT NULL,
    PRIMARY KEY (id));
CREATE TABLE turns (
    id INTEGER NOT NULL, conversation_id VARCHAR(32) NOT NULL, exchange INTEGER NOT NULL,
    role VARCHAR(16) NOT NULL, text TEXT NOT NULL, model VARCHAR(255), details JSON NOT NULL,
    replaced BOOLEAN NOT NULL, created_at FLOAT NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(conversation_id) REFERENCES conversations (id));
CREATE TABLE turn_media (
    turn_id INTEGER NOT NULL, position INTEGER NOT NULL, sha256 VARCHAR(64) NOT NULL,
    extension VARCHAR(8) NOT NULL, name VARCHAR(255) NOT NULL, PRIMARY KEY (turn_id, position),
    FOREIGN KEY(turn_id) REFERENCES turns (id));
CREATE TABLE votes (
    id INTEGER NOT NULL, conversation_id VARCHAR(32) NOT NULL, turn_id INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL, model VARCHAR(255), created_at FLOAT NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(conversation_id) REFERENCES conversations (id),
    FOREIGN KEY(turn_id) REFERENCES turns (id));
INSERT INTO conversations VALUES ('c1', 'compare', 1.0);
INSERT INTO turns VALUES (1, 'c1', 0, 'user', 'which?', NULL, '{}', 0, 1.0);
INSERT INTO turns VALUES (2, 'c1', 0, 'assistant', 'broken', 'a', '{"state": "failed"}', 1, 1.0);
INSERT INTO turns VALUES (3, 'c1', 0, 'assistant', 'from b', 'b', '{"state": "done"}', 0, 1.0);
INSERT INTO turns VALUES (4, 'c1', 0, 'assistant', 'from a', 'a', '{"state": "done"}', 0, 1.0);
INSERT INTO votes VALUES (1, 'c1', 3, 'up', NULL, 1.0);
"""


def opened(tmp_path: Path) -> Store:
    with sqlite3.connect(tmp_path / "conversations.sqlite") as connection:
        connection.executescript(_OLD)
    connection.close()
    store = Store(default_url(tmp_path))
    store.create_tables()
    store.create_tables()  # a second start finds nothing to do
    return store


def test_an_old_database_is_read_and_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    turn = TurnRow(exchange=1, role="assistant", text="more", model="b", slot=1)
    store.add_turns("c1", "compare", [turn])
    (line,) = export.lines(store)
    slots = [(turn["text"], turn["slot"]) for turn in json.loads(line)["turns"]]
    assert slots[0] == ("which?", None) and slots[-1] == ("more", 1)


def test_old_answers_stand_where_their_models_did(tmp_path: Path) -> None:
    """The answer of the first model was asked for again, so it was written last."""
    row = opened(tmp_path).conversation("c1")
    assert row is not None
    (exchange,) = restored(row, MediaStore(tmp_path / "media", 1)).exchanges
    assert [answer.text for answer in exchange.replies] == ["from a", "from b"]
    assert [answer.vote for answer in exchange.replies] == [None, "up"]


def test_an_old_conversation_can_be_found_by_its_user(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.transaction() as session:
        session.execute(update(ConversationRow).values(owner="alice"))
        indexes = {
            one["name"] for one in inspect(session.connection()).get_indexes("conversations")
        }
    (entry,), _ = ConversationList(store).entries(Identity("alice"))
    assert (entry.title, entry.kind, entry.used_at) == ("which?", "compare", 1.0)
    assert indexes == {"ix_conversations_owner", "ix_conversations_browser"}
