"""Statements that kept responses send to their database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from llava_serve.storage.kept_responses import KeptResponses


@contextmanager
def statements(kept: KeptResponses) -> Iterator[list[str]]:
    """Collect the SQL that runs meanwhile."""
    ran: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        ran.append(statement)

    event.listen(kept._engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(kept._engine, "before_cursor_execute", note)
