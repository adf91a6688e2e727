"""A conversation has one link, however many are made at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.dialects.postgresql.base import PGDialect

from llava_serve.storage.identity import Identity
from llava_serve.storage.shared import SharedLinks
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnRow

ALICE = Identity(owner="alice")


def begun(folder: Path) -> tuple[Store, list[int]]:
    """A store with the conversation `one` of a question, and the id of that."""
    store = Store(default_url(folder))
    store.create_tables()
    turn = TurnRow(exchange=0, role="user", text="why?")
    return store, store.add_turns("one", "chat", [turn], ALICE)


def test_of_links_made_at_once_one_leads_somewhere(tmp_path: Path) -> None:
    store, turn_ids = begun(tmp_path)
    links = SharedLinks(store)
    with ThreadPoolExecutor(2) as threads:
        made = [*threads.map(lambda _: links.make("one", turn_ids), range(20))]
    leading = [token for token in made if links.conversation(token) is not None]
    assert leading == [links.tokens(ALICE, ["one"])["one"]]
    store.close()


def test_who_makes_a_link_holds_the_conversation_before_anything_else(tmp_path: Path) -> None:
    store, turn_ids = begun(tmp_path)
    statements = []

    def note(_: Any, clause: Any, *__: Any) -> None:
        statements.append(str(clause.compile(dialect=PGDialect())))  # type: ignore[no-untyped-call]

    event.listen(Engine, "before_execute", note)
    try:
        SharedLinks(store).make("one", turn_ids)
    finally:
        event.remove(Engine, "before_execute", note)
    assert [one.split()[0] for one in statements] == ["SELECT", "DELETE", "INSERT"]
    assert "FROM conversations" in statements[0] and statements[0].endswith("FOR UPDATE")
    store.close()
