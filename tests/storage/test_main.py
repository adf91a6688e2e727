"""The export command writes JSON lines, and its failures are one sentence."""

import json
import subprocess
import sys
from pathlib import Path

from llava_serve.storage.store import NewTurn, Store, default_url


def export(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llava_serve.storage", *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def test_conversations_go_to_standard_output_or_a_file(tmp_path: Path) -> None:
    store = Store(default_url(tmp_path))
    store.add_turns("c1", "chat", [NewTurn(exchange=0, role="user", text="hello")])
    done = export("export", "--state-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["turns"][0]["text"] == "hello"

    written = tmp_path / "out.jsonl"
    export("export", "--database", default_url(tmp_path), "--output", str(written))
    assert written.read_text(encoding="utf-8") == done.stdout


def test_a_folder_without_conversations_is_named(tmp_path: Path) -> None:
    done = export("export", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"there are no conversations at {tmp_path}")
    assert "Traceback" not in done.stderr


def test_another_word_than_export_gets_the_usage() -> None:
    done = export("import")
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
