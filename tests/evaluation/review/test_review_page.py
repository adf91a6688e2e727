"""Page of a review: what it shows, what it must not let in, and how it looks in a browser."""

import json
from pathlib import Path

import pytest

from tests.evaluation.report.seen_page import HOSTILE, Seen, require_readable
from tests.evaluation.review.conftest import Run
from tests.evaluation.review.recorded_judge import DATA, RecordedJudge, stored_texts

REFERENCE = {
    json.loads(line)["text"] for line in (DATA / "reference.jsonl").read_text("utf-8").splitlines()
}


async def test_the_page_shows_what_the_report_holds(run: Run) -> None:
    done = await run(RecordedJudge())
    seen = Seen((done.folder / "review.html").read_text("utf-8"))
    assert {"script", "link", "iframe", "form", "object", "img"}.isdisjoint(seen.tags)
    text = " ".join(seen.text.split())
    for told in (
        "llava-7b against reference",
        "relative score 65.8 %",
        "1 · 1 · 4",
        "6 of 12",
        "no_scores 5 Assistant 1: 8",
        "behind by 9 of 10 points · 6 · llava_bench_complex",
        "The sky is clear, so no.",
    ):
        assert told in text, told


async def test_what_judges_and_models_say_is_text(run: Run, tmp_path: Path) -> None:
    """No tag, handler or address of theirs is in the page, wherever their words are shown."""

    def spoilt(answer: str) -> str:
        return answer.replace("Yes.", f"Yes. {HOSTILE}")

    for name in ("reference.jsonl", "llava-7b.jsonl"):
        text = (DATA / name).read_text("utf-8")
        (tmp_path / name).write_text(spoilt(text), encoding="utf-8")
    judge = RecordedJudge(
        {
            (question, spoilt(first), spoilt(second)): text + HOSTILE
            for (question, first, second), text in stored_texts().items()
        }
    )
    done = await run(judge, (tmp_path / "reference.jsonl", tmp_path / "llava-7b.jsonl"))
    seen = Seen((done.folder / "review.html").read_text("utf-8"))
    assert "script" not in seen.tags
    assert (seen.handlers, seen.addresses) == ([], [])
    assert seen.text.count("alert(1)") > 7


async def test_a_review_of_nothing_has_a_page(run: Run) -> None:
    done = await run(RecordedJudge(dict.fromkeys(stored_texts(), "no")))
    text = Seen((done.folder / "review.html").read_text("utf-8")).text
    assert "Nothing can be told: no question has scores in both orders." in text
    assert "Worst losses" not in text


async def test_a_model_without_a_point_has_a_page(run: Run) -> None:
    texts = {asked: "10 0" if asked[1] in REFERENCE else "0 10" for asked in stored_texts()}
    done = await run(RecordedJudge(texts))
    text = " ".join(Seen((done.folder / "review.html").read_text("utf-8")).text.split())
    assert "relative score 0.0 %" in text


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_a_page_reads_well_from_a_file(run: Run, width: int, scheme: str) -> None:
    done = await run(RecordedJudge())
    await require_readable(done.folder / "review.html", width, scheme)
