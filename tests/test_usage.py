"""The command that sums usage by key, model and day."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llava_serve import usage
from llava_serve.accounts.store import AccountStore, AuditedRequest, default_url
from llava_serve.api_key import ApiKey

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = AccountStore(default_url(tmp_path))
    store.create_tables()
    key = store.create(ApiKey(id="", name="alice")).id
    rows = ((NOON, key, "ok"), (NOON, key, "worker_lost"), (NOON + 86_400, None, "ok"))
    store.add_requests(
        AuditedRequest(
            at=at,
            request_id="r",
            key_id=key_id,
            model="m, large",
            worker="w",
            outcome=outcome,
            prompt_tokens=7,
            completion_tokens=2,
            image_tokens=5,
        )
        for at, key_id, outcome in rows
    )
    store.close()
    return tmp_path


def test_a_table_has_a_line_for_each_day_key_and_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage.main(["--state-dir", str(folder), "--since", "2026-01-01"])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("day", "key", "model", "requests", "failed"),
        *("prompt_tokens", "completion_tokens", "image_tokens"),
    ]
    assert first.split() == ["2026-01-31", "alice", "m,", "large", "2", "1", "14", "4", "10"]
    assert second.split()[:2] == ["2026-02-01", "-"]


def test_csv_is_read_by_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage.main(["--state-dir", str(folder), "--since", "2026-01-01", "--csv"])
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [(row["day"], row["key"], row["model"], row["requests"]) for row in rows] == [
        ("2026-01-31", "alice", "m, large", "2"),
        ("2026-02-01", "", "m, large", "1"),
    ]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t"])
def test_no_cell_of_csv_is_a_formula(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begin: str
) -> None:
    store = AccountStore(default_url(tmp_path))
    store.create_tables()
    asked = AuditedRequest(
        at=NOON,
        request_id="r",
        key_id=None,
        model=f"{begin}cmd|' /C calc'!A0",
        worker="",
        outcome="ok",
    )
    store.add_requests([asked])
    store.close()
    usage.main(["--state-dir", str(tmp_path), "--since", "2026-01-01", "--csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row["model"] == f"'{asked.model}"


def test_a_misspelt_folder_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there are no accounts at .*state/accounts\.sqlite"):
        usage.main(["--state-dir", str(tmp_path / "state")])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "days"),
    [
        (["--since", "2026-02-01"], ["2026-02-01"]),
        (["--since", "2026-01-01", "--until", "2026-01-31"], ["2026-01-31"]),
        (["--since", "2026-01-31", "--until", "2026-02-01"], ["2026-01-31", "2026-02-01"]),
        (["--since", "2026-02-02"], []),
    ],
)
def test_both_days_are_counted_whole(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], days: list[str]
) -> None:
    usage.main(["--state-dir", str(folder), *flags])
    written = capsys.readouterr()
    assert [line.split()[0] for line in written.out.splitlines()[1:]] == days
    assert ("--audit" in written.err and str(folder) in written.err) == (not days)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--since", "yesterday"], "--since takes a date like"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "is after --until 2026-02-01"),
    ],
)
def test_a_bad_day_ends_with_a_sentence(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        usage.main(flags)
    assert (ended.value.code, reason in capsys.readouterr().err) == (2, True)
