"""A run of `evaluate review` against the recorded judge, on the questions in `data`."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llava_serve.args import parse
from llava_serve.evaluation.review.command import review
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.evaluation.review.review_report import ReviewReport
from tests.evaluation.review.recorded_judge import DATA, KEY, MODEL, RecordedJudge


@dataclass
class Reviewed:
    """What a run left behind."""

    code: int
    printed: str
    folder: Path

    @property
    def report(self) -> ReviewReport:
        return ReviewReport.model_validate_json((self.folder / "review.json").read_bytes())

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [*map(json.loads, (self.folder / name).read_text("utf-8").splitlines())]


Run = Callable[..., Awaitable[Reviewed]]


def flags_of(folder: Path, address: str) -> dict[str, str]:
    """Return the flags of a run in `folder`, which holds the judge's key, too."""
    key = folder / "key"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    return {
        "--questions": str(DATA / "questions.jsonl"),
        "--context": str(DATA / "context.jsonl"),
        "--judge": f"{address}/v1",
        "--judge-model": MODEL,
        "--judge-key-file": str(key),
        "--out": str(folder / "out"),
    }


def config_of(
    flags: Mapping[str, str | None], answers: tuple[Path, Path] | None = None
) -> ReviewConfig:
    both = answers or (DATA / "reference.jsonl", DATA / "llava-7b.jsonl")
    argv = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    return parse(ReviewConfig, [*argv, "--answers", *map(str, both)])


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(
        judge: RecordedJudge,
        answers: tuple[Path, Path] | None = None,
        at: str | None = None,
        **changed: str | None,
    ) -> Reviewed:
        async with judge.served() as address:
            others = {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
            config = config_of(flags_of(tmp_path, at or address) | others, answers)
            code = await asyncio.to_thread(review, config)
        return Reviewed(code, capsys.readouterr().out, tmp_path / "out")

    return run
