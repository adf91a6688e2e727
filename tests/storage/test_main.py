"""The commands write JSON lines or delete, and their failures are one sentence."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnMediaRow, TurnRow


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
    store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="hello")])
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
    store.add_turns(
        "c1", "chat", [TurnRow(exchange=0, role="user", text="", media=[TurnMediaRow.of(image)])]
    )
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


def with_votes(state_dir: Path) -> None:
    store = Store(default_url(state_dir))
    store.create_tables()
    battles = Battles(store)
    votes = (
        *[BattleVote(winner="a", lengths=(90, 60))] * 5,
        *[BattleVote(winner="b", lengths=(40, 60))] * 2,
        BattleVote(winner="tie", lengths=(50, 50)),
        *[BattleVote(winner="b", lengths=(50, 50), judge="judge-7b")] * 3,
    )
    for number, vote in enumerate(votes):
        battles.vote(battles.begin(f"c{number}", ("modell-größe", "tiny"), "chart"), vote)
    # Names were in sight here, so that this vote is none of the arena's.
    turns = [TurnRow(exchange=0, role="assistant", text="", model=one) for one in ("tiny", "big")]
    compared = store.add_turns("compared", "compare", turns)
    store.add_vote("compared", compared[0], "better", model="tiny", compared=compared)


def test_ratings_are_a_table_of_people_s_blind_votes(tmp_path: Path) -> None:
    with_votes(tmp_path)
    done = run("ratings", "--state-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["RANK", "MODEL", "RATING", "95", "%", "INTERVAL", "VOTES", "NOTE"]
    assert lines[1].split()[:2] == ["1", "modell-größe"]
    assert lines[2].split()[:2] == ["1", "tiny"]
    assert "votes: 8; ties: 1; both bad: 0" in lines
    assert "big" not in done.stdout
    assert lines[-2].split() == ["#1", "modell-größe", "-", "69"]


def test_ratings_are_json_of_whose_votes_are_asked_for(tmp_path: Path) -> None:
    with_votes(tmp_path)
    flags = ("--state-dir", str(tmp_path), "--json")
    told = json.loads(run("ratings", *flags, "--votes", "judge", "--tag", "chart").stdout)
    assert (told["voters"], told["tag"], told["votes"]) == ("judge", "chart", 3)
    assert [one["model"] for one in told["models"]] == ["tiny", "modell-größe"]
    assert all(one["is_one_sided"] for one in told["models"])
    assert json.loads(run("ratings", *flags, "--tag", "scene").stdout)["models"] == []
    controlled = json.loads(run("ratings", *flags, "--style-control").stdout)
    assert controlled["length_points"] > 0


def test_a_task_that_is_none_is_refused(tmp_path: Path) -> None:
    done = run("ratings", "--state-dir", str(tmp_path), "--tag", "singing")
    assert done.returncode == 2
    assert "singing" in done.stderr
