"""Report of a run: what is counted, and what is said where there is nothing to count."""

import math
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.question import Question
from llava_serve.evaluation.report.build import build_report
from llava_serve.evaluation.report.run_report import KindScore, RunReport
from llava_serve.evaluation.report.run_tally import MAX_KINDS, OTHER_KINDS
from llava_serve.evaluation.report.statistics import wilson_interval
from llava_serve.evaluation.report.write import write_report
from tests.evaluation.report.small_run import (
    COLOURS,
    SmallTask,
    graded,
    manifest_of,
    write_run,
)


def right(index: int) -> str:
    return COLOURS[index % 5]


def report_of(path: Path, answers: list[GradedAnswer], questions: int | None = None) -> RunReport:
    manifest = manifest_of(questions or len(answers))
    folder, _ = write_run(path, manifest, original=answers)
    return write_report(folder, SmallTask(manifest.questions), manifest)


def test_a_report_counts_what_was_answered(tmp_path: Path) -> None:
    answers = [graded(index, right(index)) for index in range(6)]
    answers += [graded(6, "pink"), graded(7, None), graded(8, "red", credit=None)]
    report = report_of(tmp_path, answers, questions=10)
    assert (report.asked, report.answered, report.failed, report.missing) == (10, 8, 1, 1)
    assert report.total.n == 7
    assert report.total.ungraded == 1
    assert report.total.mean_credit == pytest.approx(6 / 7)
    assert report.total.interval == wilson_interval(6 / 7, 7)
    assert report.mean_credit_failed_wrong == pytest.approx(6 / 8)
    assert (report.main_metric, report.metrics) == ("accuracy", {"accuracy": 6 / 7})


def test_kinds_are_in_the_order_of_the_questions(tmp_path: Path) -> None:
    report = report_of(tmp_path, [graded(index, right(index)) for index in range(9)])
    assert [(kind.kind, kind.n) for kind in report.kinds] == [("shade", 3), ("colour", 6)]


def test_failures_stand_by_their_code_with_what_one_was_told(tmp_path: Path) -> None:
    codes = ["worker_lost", "media_unreadable", "worker_lost"]
    report = report_of(tmp_path, [graded(at, None, failure=code) for at, code in enumerate(codes)])
    assert [(one.code, one.n, one.message) for one in report.failures] == [
        ("worker_lost", 2, "worker_lost in q0"),
        ("media_unreadable", 1, "media_unreadable in q1"),
    ]
    assert (report.total.mean_credit, report.mean_credit_failed_wrong) == (None, None)
    assert report.cut is None


def test_answers_that_were_cut_are_counted(tmp_path: Path) -> None:
    answers = [graded(0, "red", tokens=16), graded(1, "green", tokens=2), graded(2, None)]
    report = report_of(tmp_path, answers)
    assert report.cut == 1
    assert report.tokens is not None
    assert (report.tokens.n, report.tokens.total, report.tokens.most) == (2, 18, 16)


def test_the_constant_answer_is_graded_as_the_task_grades(tmp_path: Path) -> None:
    answers = [graded(index, "red") for index in range(10)]
    answers[9] = graded(9, None)
    report = report_of(tmp_path, answers)
    assert (report.total.constant_answer, report.total.constant) == ("red", 2 / 9)
    shade: KindScore = report.kinds[0]  # 0, 3, 6: red, orange, green; 9 failed
    assert shade.constant == pytest.approx(1 / 3)


class TogetherTask(SmallTask):
    def grade_all(self, answers: Iterable[tuple[Question, AnswerRecord]], folder: Path) -> None: ...


def test_what_is_graded_together_has_no_constant_answer(tmp_path: Path) -> None:
    manifest = manifest_of(2)
    folder, _ = write_run(tmp_path, manifest, original=[graded(0, "red"), graded(1, "red")])
    report = write_report(folder, TogetherTask(2), manifest)
    assert (report.total.n, report.total.constant) == (2, None)


def test_without_public_truths_there_is_no_score(tmp_path: Path) -> None:
    answers = [graded(at, "red", truth=None, credit=None, logprob=-0.1) for at in range(3)]
    report = report_of(tmp_path, answers)
    assert (report.total.n, report.total.ungraded) == (0, 3)
    assert (report.total.mean_credit, report.total.interval, report.total.constant) == (None,) * 3
    assert report.mean_credit_failed_wrong is None
    assert (report.worst, report.reliability, report.metrics) == ([], None, {})


def test_a_run_without_questions_has_a_report(tmp_path: Path) -> None:
    report = report_of(tmp_path, [], questions=5)
    assert (report.answered, report.missing, report.kinds) == (0, 5, [])
    assert report.total_time is None


def test_the_worst_answers_are_wrong_with_the_highest_probability(tmp_path: Path) -> None:
    answers = [graded(at, "pink", logprob=-float((at * 7) % 40) / 10) for at in range(40)]
    answers.append(graded(40, right(40), logprob=0.0))
    answers.append(graded(41, "pink"))
    report = report_of(tmp_path, answers)
    found = [one.confidence for one in report.worst]
    assert found == [pytest.approx(math.exp(-at / 10)) for at in range(24)]
    assert report.worst[0].truth == right(report.worst[0].index)


def test_without_probabilities_wrong_answers_from_all_over_are_shown(tmp_path: Path) -> None:
    report = report_of(tmp_path, [graded(at, "pink", logprob=math.nan) for at in range(300)])
    indexes = [one.index for one in report.worst]
    assert indexes == sorted(indexes)
    assert len(indexes) == 24
    assert indexes[0] < 100 < indexes[12] < 200 < indexes[-1]
    assert {one.confidence for one in report.worst} == {None}
    assert report.reliability is None


def test_a_control_says_how_much_of_the_score_needs_the_image(tmp_path: Path) -> None:
    manifest = manifest_of(20)
    original = [graded(at, right(at) if at < 16 else "pink") for at in range(20)]
    original[0] = graded(0, None)
    gray = [graded(at, right(at) if at % 5 == 1 else "pink") for at in range(10)]
    folder, _ = write_run(tmp_path, manifest, original=original, gray=gray)
    (control,) = write_report(folder, SmallTask(20), manifest).controls
    assert (control.images, control.asked, control.failed) == ("gray", 10, 0)
    assert control.mean_credit == pytest.approx(0.2)
    assert control.paired is not None
    assert (control.paired.n, control.paired.first, control.paired.second) == (9, 2 / 9, 1.0)
    assert control.needs_image == pytest.approx(7 / 9)
    assert (control.paired.only_first, control.paired.only_second) == (0, 7)


def test_a_control_of_a_run_that_scored_nothing_has_no_fraction(tmp_path: Path) -> None:
    manifest = manifest_of(3)
    wrong = [graded(at, "pink") for at in range(3)]
    failed = [graded(at, None) for at in range(3)]
    folder, _ = write_run(tmp_path, manifest, original=wrong, gray=wrong, swapped=failed)
    gray, swapped = write_report(folder, SmallTask(3), manifest).controls
    assert gray.paired is not None
    assert gray.paired.interval[0] < 0 < gray.paired.interval[1]
    assert (gray.needs_image, swapped.needs_image, swapped.paired) == (None, None, None)


def test_kinds_beyond_the_most_count_as_one(tmp_path: Path) -> None:
    answers = [graded(at, right(at), kind=f"kind {at}") for at in range(MAX_KINDS + 30)]
    report = report_of(tmp_path, answers)
    assert len(report.kinds) == MAX_KINDS + 1
    assert (report.kinds[-1].kind, report.kinds[-1].n) == (OTHER_KINDS, 30)
    assert report.kinds[-1].constant == pytest.approx(6 / 30)


def test_the_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    answers = [graded(at, right(at), logprob=-0.2, total_s=0.5, tokens=3) for at in range(5)]
    report = report_of(tmp_path, answers)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert RunReport.model_validate_json(text) == report


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"index": 1}', "line 3: id: Field required"),
        ("{", "line 3: Invalid JSON"),
        (graded(0, "red").model_dump_json(), "question 0 stands behind question 1"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    manifest = manifest_of(3)
    folder, _ = write_run(tmp_path, manifest, original=[graded(0, "red"), graded(1, "red")])
    with folder.graded("original").open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    with pytest.raises(CommandError, match=told):
        build_report(folder, SmallTask(3), manifest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    manifest = manifest_of(1)
    folder, _ = write_run(tmp_path, manifest, original=[graded(0, "red")])
    folder.graded("original").unlink()
    with pytest.raises(CommandError, match=r"graded\.jsonl cannot be read"):
        build_report(folder, SmallTask(1), manifest)


class LongTask(SmallTask):
    """The same without the drawing of 100,000 images."""

    def questions(self) -> Iterator[Question]:
        (question,) = list(SmallTask(1).questions())
        return (question for _ in range(self._questions))


def peak_bytes(path: Path, count: int) -> int:
    manifest = manifest_of(count)
    answers = (
        graded(at, f"answer {at}", kind=f"kind {at}", logprob=-at / count, total_s=at / 1000)
        for at in range(count)
    )
    folder, _ = write_run(path, manifest, original=answers)
    tracemalloc.start()
    try:
        build_report(folder, LongTask(count), manifest)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_questions(tmp_path: Path) -> None:
    few = peak_bytes(tmp_path / "few", 2_000)
    many = peak_bytes(tmp_path / "many", 100_000)
    assert many < few + 2_000_000


class AlternatingTask(SmallTask):
    """Every second answer is `yes`, as in POPE's files."""

    def questions(self) -> Iterator[Question]:
        (question,) = list(SmallTask(1).questions())
        return (replace(question, truth="no" if at % 2 else "yes") for at in range(self._questions))


@pytest.mark.slow
def test_a_constant_answer_is_not_drawn_from_every_second_question(tmp_path: Path) -> None:
    count = 50_000
    manifest = manifest_of(count)
    answers = (
        graded(at, "yes", truth="no" if at % 2 else "yes", credit=float(at % 2 == 0))
        for at in range(count)
    )
    folder, _ = write_run(tmp_path, manifest, original=answers)
    report, _ = build_report(folder, AlternatingTask(count), manifest)
    assert report.total.constant == pytest.approx(0.5, abs=0.02)
