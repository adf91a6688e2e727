"""What `evaluate --task llava_bench` writes is reviewed as it is, against the reference."""

import asyncio
import shutil
from pathlib import Path

import pytest
from PIL import Image

from llava_serve import evaluate
from llava_serve.engines.echo import EchoEngine
from tests.adapters.conftest import stack_of
from tests.evaluation.review.conftest import Run
from tests.evaluation.review.recorded_judge import DATA, Asked, RecordedJudge


class Fair(dict[Asked, str]):
    """Says 4 of an answer that repeats the question, and else 8."""

    def __missing__(self, asked: Asked) -> str:
        question, *answers = asked
        return " ".join("4" if question in answer else "8" for answer in answers)


async def test_the_answers_of_a_run_are_reviewed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = tmp_path / "bench"
    (bench / "images").mkdir(parents=True)
    shutil.copy(DATA / "questions.jsonl", bench / "questions.jsonl")
    for number in range(1, 5):
        Image.new("RGB", (8, 8)).save(bench / "images" / f"00{number}.jpg")
    async with stack_of(EchoEngine("echo")) as stack:
        flags = ["--task", "llava_bench", "--data", str(bench), "--out", str(tmp_path / "run")]
        argv = [*flags, "--controller", stack.controller]
        assert await asyncio.to_thread(evaluate.main, argv) == 0
    answers = tmp_path / "run" / "answers" / "echo.jsonl"
    done = await run(RecordedJudge(Fair()), (DATA / "reference.jsonl", answers))
    report = done.report
    assert (done.code, report.manifest.model_b, report.total.judged) == (0, "echo", 12)
    assert (report.total.relative, report.total.losses, report.order.agreed) == (50, 12, 1)
