"""A review that is killed goes on where it was: what is written down is not asked again."""

import asyncio
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.evaluation.review.conftest import flags_of
from tests.evaluation.review.recorded_judge import DATA, RecordedJudge, stored_texts
from tests.until import until

pytestmark = pytest.mark.slow


@dataclass
class Command:
    """`evaluate review` as a process, on the questions in `data`."""

    folder: Path
    address: str
    others: dict[str, str] = field(default_factory=dict)

    async def start(self) -> asyncio.subprocess.Process:
        flags = flags_of(self.folder, self.address) | {"--concurrency": "2"} | self.others
        argv = [part for flag, value in flags.items() for part in (flag, value)]
        answers = [str(DATA / "reference.jsonl"), str(DATA / "llava-7b.jsonl")]
        program = [sys.executable, "-m", "llava_serve.evaluate", "review"]
        return await asyncio.create_subprocess_exec(
            *program,
            *argv,
            "--answers",
            *answers,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_a_killed_review_goes_on(tmp_path: Path, how: signal.Signals, code: int) -> None:
    judge = RecordedJudge(dict.fromkeys(stored_texts(), "8 9\nThe second one."))
    judge.stuck_after = 9
    async with judge.served() as address:
        first = await Command(tmp_path, address).start()
        kept = tmp_path / "out" / "reviews.jsonl"
        await until(lambda: kept.exists() and kept.read_bytes().count(b"\n") == 9)
        first.send_signal(how)
        _, errors = await first.communicate()
        assert (first.returncode, b"Traceback" in errors) == (code, False)
        before = Counter(judge.asked)
        judge.go_on()
        second = await Command(tmp_path, address).start()
        printed, errors = await second.communicate()
    assert second.returncode == 0, errors
    assert b"112.5" in printed  # 9 in percent of 8, where A is the first
    assert sum(before.values()) <= 9 + 2
    assert sum(judge.asked.values()) <= 24 + 2


async def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    judge = RecordedJudge()
    judge.stuck_after = 1
    async with judge.served() as address:
        first = await Command(tmp_path, address).start()
        await until(lambda: (tmp_path / "out" / "reviews.jsonl").exists())
        second = await Command(tmp_path, address).start()
        _, errors = await second.communicate()
        assert second.returncode == 2
        assert b"another process is writing the run" in errors
        first.kill()
        await first.communicate()
        judge.go_on()


async def test_a_wrong_flag_and_a_wrong_file_are_one_sentence(tmp_path: Path) -> None:
    others = {"--questions": str(tmp_path / "none.jsonl")}
    missing = await Command(tmp_path, "http://127.0.0.1:9", others).start()
    _, errors = await missing.communicate()
    assert (missing.returncode, errors.count(b"\n")) == (2, 1)
    assert b"No such file" in errors
    wrong = await Command(tmp_path, "nonsense").start()
    _, errors = await wrong.communicate()
    assert (wrong.returncode, b"--judge must be an address" in errors) == (2, True)
