"""Settings of accounts: which database they are in, and who is asked for a key."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.config import STATE
from llava_serve.http.hosts import is_loopback
from llava_serve.key_config import KeyConfig
from llava_serve.storage.database import make_state_dir


@dataclass(frozen=True, kw_only=True)
class AccountsConfig:
    """Flags of the commands that read and change accounts."""

    state_dir: Annotated[Path, "state folder of the controller"] = STATE
    database: Annotated[
        str | None, "SQLAlchemy URL of keys and usage; default: SQLite in the state folder"
    ] = None

    @contextmanager
    def made(self) -> Iterator[AccountStore]:
        """Open the accounts, which are made when there are none."""
        with closing(make_store(self.state_dir, self.database)) as store:
            yield store

    @contextmanager
    def opened(self) -> Iterator[AccountStore]:
        """Open the accounts that are there; none are made by looking for them."""
        with closing(AccountStore(self.database or default_url(self.state_dir))) as store:
            store.require_tables()
            store.create_tables()  # those that an older version did not have
            yield store


def make_store(state_dir: Path, database: str | None) -> AccountStore:
    """Return the accounts, which are made when there are none.

    Raises:
        StorageFailed: the database cannot be used.
    """
    if database is None:
        make_state_dir(state_dir)
    store = AccountStore(database or default_url(state_dir))
    store.create_tables()
    return store


def asks_for_keys(config: KeyConfig, host: str) -> bool:
    """Tell whether a server at `host` answers only who shows a key."""
    return config.require_keys or not (config.no_auth or is_loopback(host))
