"""Our own programs show a controller of this machine what lies here, and others a key file."""

import socket
from pathlib import Path

import pytest

from llava_serve.credential import credential_for, is_here, key_file_in
from llava_serve.errors import CommandError

HERE, ELSEWHERE = "http://127.0.0.1:10000", "http://203.0.113.9:10000"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", "-")).write_text(text + "\n")


def test_the_clusters_token_is_shown_on_this_machine_and_nowhere_else(tmp_path: Path) -> None:
    write(tmp_path, cluster_token="token", api_key="key")
    assert credential_for(HERE, None, tmp_path)() == {"Authorization": "Bearer token"}
    assert credential_for(ELSEWHERE, None, tmp_path)() == {}


def test_without_a_token_the_first_key_is_shown(tmp_path: Path) -> None:
    write(tmp_path, api_key="key")
    assert credential_for(HERE, None, tmp_path)() == {"Authorization": "Bearer key"}


def test_a_file_that_is_made_later_is_found(tmp_path: Path) -> None:
    credential = credential_for(HERE, None, tmp_path / "state")
    assert credential() == {}
    (tmp_path / "state").mkdir()
    write(tmp_path / "state", cluster_token="token")
    assert credential() == {"Authorization": "Bearer token"}


def test_a_named_file_is_shown_everywhere(tmp_path: Path) -> None:
    write(tmp_path, cluster_token="token", mine="key")
    for address in (HERE, ELSEWHERE):
        credential = credential_for(address, tmp_path / "mine", tmp_path)
        assert credential() == {"Authorization": "Bearer key"}


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "caf\u00e9"])
def test_a_named_file_that_holds_no_key_is_told(tmp_path: Path, text: str) -> None:
    write(tmp_path, mine=text)
    with pytest.raises(CommandError, match="mine cannot be used as an API key"):
        credential_for(HERE, tmp_path / "mine", tmp_path)


def test_a_named_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file") as told:
        credential_for(HERE, tmp_path / "none", tmp_path)
    assert "--api-key-file" in told.value.remedy


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        (HERE, True),
        ("http://localhost:10000", True),
        ("https://127.0.0.2", True),
        (ELSEWHERE, False),
        ("http://no-such-host.invalid:10000", False),
        (f"http://{'a' * 70}.invalid", False),
    ],
)
def test_an_address_of_this_machine_is_known(address: str, is_ours: bool) -> None:
    assert is_here(address) is is_ours


def test_this_machines_own_name_is_known() -> None:
    assert is_here(f"http://{socket.gethostname()}:1") or not resolves(socket.gethostname())


def resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def test_the_greeting_names_the_first_key_or_else_the_token(tmp_path: Path) -> None:
    assert key_file_in(tmp_path).name == "cluster-token"
    write(tmp_path, api_key="key")
    assert key_file_in(tmp_path).name == "api-key"
