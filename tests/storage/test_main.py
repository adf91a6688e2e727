"""The commands write JSON lines or delete, and their failures are one sentence."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import NewTurn, Store, default_url


def run(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llava_serve.storage", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def test_conversations_go_to_standard_output_or_a_file(tmp_path: Path) -> None:
    store = Store(default_url(tmp_path))
    store.create_tables()
    store.add_turns("c1", "chat", [NewTurn(exchange=0, role="user", text="hello")])
    done = run("export", "--state-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["turns"][0]["text"] == "hello"

    written = tmp_path / "out.jsonl"
    run("export", "--database", default_url(tmp_path), "--output", str(written))
    assert written.read_text(encoding="utf-8") == done.stdout


def test_a_folder_without_conversations_is_named(tmp_path: Path) -> None:
    done = run("export", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"there are no conversations at {tmp_path}")
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    done = run("export", "--database", f"sqlite:///{tmp_path}/typo.sqlite")
    assert done.returncode == 1
    assert done.stderr.startswith(f"there are no conversations at {tmp_path}/typo.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_something_else_has_no_conversations(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").touch()
    done = run("export", "--database", f"sqlite:///{tmp_path}/other.sqlite")
    assert done.returncode == 1
    assert done.stderr.startswith("there are no conversations at ")


def test_old_conversations_are_deleted_with_their_images(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "cat.png")
    image = MediaStore(tmp_path / "media", 10_000).put(tmp_path / "cat.png")
    store = Store(default_url(tmp_path), clock=lambda: 0.0)
    store.create_tables()
    store.add_turns("c1", "chat", [NewTurn(exchange=0, role="user", text="", files=[image])])
    done = run("delete", "--state-dir", str(tmp_path), "--before", "2026-01-31")
    assert done.stdout == "deleted 1 conversations and 1 files\n", done.stderr
    assert run("export", "--state-dir", str(tmp_path)).stdout == ""
    assert not any(path.is_file() for path in (tmp_path / "media").rglob("*"))


def test_a_date_that_is_none_deletes_nothing() -> None:
    done = run("delete", "--before", "yesterday")
    assert done.returncode == 2
    assert "--before takes a date like 2026-01-31, not 'yesterday'" in done.stderr


def test_another_word_than_export_gets_the_usage() -> None:
    done = run("import")
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
