"""Our own controller as the judge, over both protocols: what gives no scores judges nothing."""

import asyncio
from pathlib import Path

import pytest

from llava_serve.config import ModelConfig
from llava_serve.engines.build import build_engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.evaluation.review.command import review
from llava_serve.evaluation.review.review_report import ReviewReport
from tests.adapters.conftest import stack_of
from tests.evaluation.review.conftest import config_of, flags_of


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_reviews_without_scores_are_all_counted_as_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    async with stack_of(EchoEngine("echo")) as stack:
        flags = flags_of(tmp_path, stack.controller)
        flags |= {"--judge-model": "echo", "--judge-protocol": protocol}
        code = await asyncio.to_thread(review, config_of(flags))
    printed = capsys.readouterr().out
    report = ReviewReport.model_validate_json((tmp_path / "out" / "review.json").read_bytes())
    assert (code, report.total.judged, report.total.failed) == (1, 0, 12)
    assert report.failures == {"no_scores": 24}
    assert (report.total.relative, report.total.mean_a, report.total.interval) == (None,) * 3
    assert "Nothing can be told: no question has scores in both orders." in printed
    assert "no_scores: 24" in printed
    assert (tmp_path / "out" / "reviews_llava.jsonl").read_bytes() == b""


@pytest.mark.slow
async def test_the_bundled_model_reads_the_prompt_and_is_no_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = build_engine(ModelConfig(), slots=4)
    try:
        async with stack_of(engine) as stack:
            flags = flags_of(tmp_path, stack.controller) | {"--judge-model": engine.card.id}
            flags |= {"--max-tokens": "16"}
            code = await asyncio.to_thread(review, config_of(flags))
    finally:
        engine.close()
    report = ReviewReport.model_validate_json((tmp_path / "out" / "review.json").read_bytes())
    assert (code, report.total.judged) == (1, 0)
    assert sum(report.failures.values()) == 24
    assert "Nothing can be told" in capsys.readouterr().out
