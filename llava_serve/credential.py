"""Credential: the API key or cluster token that a program of ours shows its controller."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from llava_serve.cluster_token import API_KEY_FILE, TOKEN_FILE, bearer
from llava_serve.errors import CommandError
from llava_serve.secret_file import read_secret

Credential = Callable[[], Mapping[str, str]]
"""Returns the headers to show, read anew each time: the files may be made and changed later."""


def credential_for(controller: str, key_file: Path | None, state_dir: Path) -> Credential:
    """Return what to show the controller at an address.

    That is the key in `key_file`, or else what lies in the state folder: the cluster's token, or
    the first key. Those are shown to a controller on this machine only.

    Raises:
        CommandError: `key_file` cannot be read, or is empty.
    """
    if key_file is not None:
        read_secret(key_file)
        return lambda: bearer(read_secret(key_file))
    if not is_here(controller):
        return dict
    return lambda: _first_of(state_dir / TOKEN_FILE, state_dir / API_KEY_FILE)


def key_file_in(state_dir: Path) -> Path:
    """Return the file whose secret opens the controller of a state folder for its owner."""
    key = state_dir / API_KEY_FILE
    return key if key.exists() else state_dir / TOKEN_FILE


def is_here(address: str) -> bool:
    """Tell whether an address is of this machine, whatever name it is called by."""
    try:
        found = socket.getaddrinfo(urlsplit(address).hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_own(family, where[0]) for family, _, _, _, where in found)


def _is_own(family: int, ip: str | int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _first_of(*paths: Path) -> Mapping[str, str]:
    for path in paths:
        try:
            return bearer(read_secret(path))
        except CommandError:  # not made yet, or another user's
            continue
    return {}
