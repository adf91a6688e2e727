"""Settings of the commands that open the page's database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.config import STATE
from llava_serve.storage.store import Store, default_url


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    state_dir: Annotated[Path, "folder the web server keeps its conversations in"] = STATE
    database: Annotated[
        str | None, "SQLAlchemy URL of the conversations; default: SQLite in the state folder"
    ] = None

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Open the store that is there; none is made by looking for it."""
        store = Store(self.database or default_url(self.state_dir))
        try:
            store.require_tables()
            store.create_tables()  # those that an older version did not have
            yield store
        finally:
            store.close()
