"""A review is made in both orders, by question ids, and what cannot be read is no score."""

import json
from pathlib import Path

import pytest

from llava_serve.errors import CommandError, RemoteError
from llava_serve.errors.base import RETRY_AFTER
from llava_serve.evaluation import outage
from llava_serve.evaluation.review.judges import ReviewRequest, open_judge
from llava_serve.evaluation.review.review_report import ReviewRow
from tests.evaluation.review.conftest import Run, config_of, flags_of
from tests.evaluation.review.recorded_judge import DATA, RecordedJudge, stored_texts

# What LLaVA's own summary prints of the `reviews_llava.jsonl` that such a run writes.
# Source: haotian-liu/LLaVA@c121f04 llava/eval/summarize_gpt_review.py, run once.
LLAVA_SUMMARY = {
    "all": (65.8, 80.4, 52.9),
    "llava_bench_complex": (45.2, 91.2, 41.2),
    "llava_bench_conv": (67.6, 85.0, 57.5),
    "llava_bench_detail": (92.3, 65.0, 60.0),
}


def row_of(rows: list[ReviewRow], category: str) -> ReviewRow:
    (row,) = (one for one in rows if one.category == category)
    return row


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_the_scores_are_those_that_llavas_own_summary_prints(run: Run, protocol: str) -> None:
    done = await run(RecordedJudge(), judge_protocol=protocol)
    assert done.code == 1  # half of the stored reviews cannot be read
    for category, (relative, mean_a, mean_b) in LLAVA_SUMMARY.items():
        row = row_of(done.report.rows, category)
        assert row.relative == pytest.approx(relative, abs=0.051)
        assert (row.mean_a, row.mean_b) == pytest.approx((mean_a, mean_b), abs=0.051)
        assert f"{relative:.1f}" in done.printed


async def test_each_question_is_asked_once_in_both_orders_and_with_the_right_answers(
    run: Run,
) -> None:
    judge = RecordedJudge()
    await run(judge)
    assert judge.asked == dict.fromkeys(stored_texts(), 1)


async def test_scores_follow_the_model_and_not_the_place(run: Run) -> None:
    done = await run(RecordedJudge())
    scores = {
        (one["question_id"], one["order"]): one.get("scores") for one in done.lines("reviews.jsonl")
    }
    assert scores["1", "ab"] == scores["1", "ba"] == [9, 3]
    assert (scores["2", "ab"], scores["2", "ba"]) == ([6, 8], [6, 8])


async def test_what_cannot_be_read_is_counted_by_name_and_kept_with_its_text(run: Run) -> None:
    done = await run(RecordedJudge())
    report = done.report
    assert report.failures == {"no_scores": 5, "empty": 1, "out_of_range": 1}
    total = report.total
    assert (total.questions, total.judged, total.failed, total.missing) == (12, 6, 6, 0)
    failed = [one for one in done.lines("reviews.jsonl") if "failure" in one]
    assert {one["text"] for one in failed} >= {"", "8", "(5, 8)", "11 0\nThe first is far better."}
    assert all("scores" not in one for one in failed)
    assert "no_scores: 5" in done.printed


async def test_llavas_file_holds_both_orders_of_what_is_judged(run: Run) -> None:
    lines = (await run(RecordedJudge())).lines("reviews_llava.jsonl")
    assert [one["question_id"] for one in lines] == [q for q in range(1, 7) for _ in "ab"]
    first = lines[0]
    assert first == {
        **{"id": 1, "question_id": 1, "answer1_id": 1, "answer2_id": "id1"},
        **{"category": "llava_bench_conv", "content": "9 3\nThe kettle is red.", "tuple": [9, 3]},
    }


async def test_wins_ties_and_losses_are_those_both_orders_agree_on(run: Run) -> None:
    total = (await run(RecordedJudge())).report.total
    assert (total.wins, total.ties, total.losses) == (1, 1, 4)  # question 4: a tie and a win
    assert total.interval is not None and total.relative is not None
    assert total.interval[0] < total.relative < total.interval[1]


async def test_the_worst_losses_are_shown_with_what_the_judge_said(run: Run) -> None:
    worst = (await run(RecordedJudge())).report.worst
    assert [one.question_id for one in worst] == ["6", "1", "5", "3"]
    assert (worst[0].points, worst[0].answer_b) == (9, "Yes.")
    assert worst[0].reviews == ("10 1\nThe sky is clear.", "1 10\nThe sky is clear.")


async def test_a_missing_answer_is_counted_and_not_asked(run: Run, tmp_path: Path) -> None:
    lines = (DATA / "llava-7b.jsonl").read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["question_id"] != 1]
    (tmp_path / "b.jsonl").write_text("".join([*kept, '{"question_id": 99, "text": "?"}\n']))
    judge = RecordedJudge()
    done = await run(judge, (DATA / "reference.jsonl", tmp_path / "b.jsonl"))
    assert (done.code, done.report.total.missing, done.report.unasked) == (1, 1, (0, 1))
    assert not any(question == "What color is the kettle?" for question, *_ in judge.asked)


async def test_a_second_run_asks_only_for_what_has_failed(run: Run) -> None:
    await run(RecordedJudge())
    mended = stored_texts()
    judge = RecordedJudge(dict.fromkeys(mended, "8 8"))
    done = await run(judge)
    assert sum(judge.asked.values()) == 7
    assert (done.code, done.report.failures, done.report.total.judged) == (0, {}, 12)
    assert len(done.lines("reviews.jsonl")) == 24 + 7


async def test_a_line_that_was_torn_is_asked_again(run: Run, tmp_path: Path) -> None:
    good = RecordedJudge(dict.fromkeys(stored_texts(), "8 8"))
    done = await run(good)
    path = tmp_path / "out" / "reviews.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    again = RecordedJudge(good.texts)
    done = await run(again)
    assert (sum(again.asked.values()), done.code, done.report.total.judged) == (1, 0, 12)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"temperature": "0"}, "judge_fields", id="the temperature"),
        pytest.param({"judge_protocol": "anthropic"}, "judge_protocol", id="the protocol"),
        pytest.param({"context": str(DATA / "other_context.jsonl")}, "context", id="the context"),
    ],
)
async def test_another_run_does_not_go_on_in_the_folder(
    run: Run, changed: dict[str, str], told: str
) -> None:
    await run(RecordedJudge())
    with pytest.raises(CommandError, match=f"another run: its {told} is"):
        await run(RecordedJudge(), **changed)


async def test_a_run_may_go_on_at_another_address_and_speed(run: Run) -> None:
    await run(RecordedJudge(), concurrency="1")
    judge = RecordedJudge(dict.fromkeys(stored_texts(), "8 8"))
    assert (await run(judge, concurrency="9", attempts="2")).code == 0


async def test_a_review_that_ends_within_its_scores_is_cut(run: Run) -> None:
    judge = RecordedJudge(dict.fromkeys(stored_texts(), "8 1"), is_cut=True)
    assert (await run(judge)).report.failures == {"cut": 24}


async def test_a_wrong_key_and_a_wrong_model_end_the_run(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("sk-other", encoding="utf-8")
    with pytest.raises(CommandError, match="HTTP 401") as refused:
        await run(RecordedJudge(), judge_key_file=str(wrong))
    assert "--judge-key-file" in refused.value.remedy
    with pytest.raises(CommandError, match="HTTP 404") as unknown:
        await run(RecordedJudge(), judge_model="other", out=str(tmp_path / "other"))
    assert "--judge-model" in unknown.value.remedy


async def test_nobody_at_the_judges_address_ends_the_run(run: Run) -> None:
    with pytest.raises(CommandError, match="the judge does not answer at") as away:
        await run(RecordedJudge(), at="http://127.0.0.1:9", patience="0.01")
    assert away.value.remedy.startswith("Start it, or correct --judge.")


@pytest.mark.parametrize(("protocol", "code"), [("openai", "unknown"), ("anthropic", "some_error")])
async def test_a_refused_request_is_a_failure_of_its_own(
    run: Run, protocol: str, code: str
) -> None:
    first = next(iter(stored_texts()))
    done = await run(RecordedJudge(errors={first: [400, 400]}), judge_protocol=protocol)
    assert done.report.failures[code] == 1
    assert done.report.told[code] == "no"


async def test_questions_about_no_image_need_no_context(run: Run, tmp_path: Path) -> None:
    lines = map(json.loads, (DATA / "questions.jsonl").read_text("utf-8").splitlines())
    asked = [{**line, "image": None, "category": "generic"} for line in lines]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    judge = RecordedJudge(dict.fromkeys(stored_texts(), "8 8"))
    done = await run(judge, questions=str(tmp_path / "q.jsonl"), context=None)
    assert (done.code, done.report.default_rule) == (0, ["generic"])
    assert done.report.manifest.context is None
    assert "Judged by the rule `default`: generic." in done.printed
    assert not any("[Context]" in body["messages"][1]["content"] for body in judge.bodies)


async def test_fields_of_the_request_can_be_added_and_left_out(run: Run) -> None:
    judge = RecordedJudge()
    fields = '{"temperature": null, "max_tokens": null, "max_completion_tokens": 9}'
    await run(judge, judge_fields=fields)
    assert judge.bodies[0]["max_completion_tokens"] == 9
    assert not {"temperature", "max_tokens"} & judge.bodies[0].keys()


async def test_a_busy_and_a_failing_judge_is_asked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_FIRST_S", 0.001)
    texts = dict.fromkeys(stored_texts(), "8 8")
    busy, failing, *_ = texts
    judge = RecordedJudge(texts, errors={busy: [429, 429], failing: [500, 529]})
    done = await run(judge)
    assert (done.code, judge.asked[busy], judge.asked[failing]) == (0, 3, 3)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_a_busy_judge_says_how_long_to_wait(protocol: str, tmp_path: Path) -> None:
    sides = "".join(f"[A {n}]\n{n}\n\n[End of A {n}]\n\n" for n in (1, 2))
    asked = ReviewRequest("", f"[Question]\n?\n\n{sides}[System]\n")
    async with RecordedJudge(errors={("?", "1", "2"): [429]}).served() as address:
        flags = {**flags_of(tmp_path, address), "--judge-protocol": protocol}
        async with open_judge(config_of(flags)) as judge:
            with pytest.raises(RemoteError) as busy:
                await judge.review(asked)
    assert (busy.value.status, busy.value.headers[RETRY_AFTER]) == (429, "0")


async def test_a_review_that_the_judge_always_fails_at_is_a_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_FIRST_S", 0.001)
    texts = dict.fromkeys(stored_texts(), "8 8")
    failing = next(iter(texts))
    judge = RecordedJudge(texts, errors={failing: [500] * 9})
    done = await run(judge, attempts="3")
    assert (done.code, judge.asked[failing], done.report.failures) == (1, 3, {"unknown": 1})
