"""First API key: made when a server that asks for keys starts and has none."""

import logging
import sys
from pathlib import Path

from llava_serve.accounts.store import AccountStore
from llava_serve.api_key import ApiKey, IssuedKey, id_of
from llava_serve.cluster_token import API_KEY_FILE
from llava_serve.errors import KeyNameTaken, StorageFailed
from llava_serve.secret_file import write_secret

logger = logging.getLogger(__name__)

NAME = "first"


def make_first_key(store: AccountStore, state_dir: Path, address: str) -> None:
    """Make an admin key where no key was ever made; keep it for our own programs, and print it.

    Raises:
        StorageFailed: it can be kept nowhere.
    """
    if store.all_keys():
        return
    try:
        issued = store.create(ApiKey(id="", name=NAME, role="admin"))
    except KeyNameTaken:  # another controller on the same database was faster
        logger.info(
            "the first API key was made by another controller of this database, which has shown it "
            "and keeps it in %s of its own state folder",
            API_KEY_FILE,
        )
        return
    path = state_dir / API_KEY_FILE
    try:
        path.unlink(missing_ok=True)  # of a database that is gone
        write_secret(path, issued.text)
    except OSError as exc:
        store.revoke(NAME)
        raise StorageFailed(
            f"the first API key cannot be kept in {path}: {exc}. Make one yourself: python -m "
            "llava_serve.keys create --name NAME --role admin"
        ) from exc
    logger.info("made an API key; programs on this machine read it from %s", path)
    sys.stdout.write(
        f"\nThis server asks for an API key. The first one is shown only once:\n\n  {issued.text}\n"
        f'\nTry it:\n\n  curl -H "Authorization: Bearer {issued.text}" {address}/v1/models\n'
        "\nMore keys, with limits: python -m llava_serve.keys create --name NAME\n\n"
    )
    sys.stdout.flush()


def renew_first_key(issued: IssuedKey, state_dir: Path) -> None:
    """Keep the new secret of the key that our own programs read from the state folder.

    Raises:
        StorageFailed: the file cannot be written.
    """
    path = state_dir / API_KEY_FILE
    try:
        if path.exists() and id_of(path.read_text(encoding="ascii").strip()) == issued.id:
            path.unlink()
            write_secret(path, issued.text)
    except (OSError, UnicodeDecodeError) as exc:
        raise StorageFailed(f"the key in {path} cannot be renewed: {exc}") from exc
