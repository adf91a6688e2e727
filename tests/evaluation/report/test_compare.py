"""Comparison of two runs: what differs, and which runs cannot be compared."""

import math
import re
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.report.compare import compare, compare_runs
from llava_serve.evaluation.report.compare_config import CompareConfig
from llava_serve.evaluation.report.run_comparison import RunComparison
from llava_serve.evaluation.report.write import write_report
from llava_serve.evaluation.task import Task
from tests.evaluation.report.small_run import COLOURS, SmallTask, graded, manifest_of, write_run


def right(at: int) -> str:
    return COLOURS[at % 5]


def run(path: Path, answers: list[GradedAnswer], **changed: object) -> Path:
    manifest = manifest_of(len(answers), **changed)
    folder, _ = write_run(path, manifest, original=answers)
    write_report(folder, SmallTask(len(answers)), manifest)
    return folder.report_json


def answers_of(count: int, *wrong: int) -> list[GradedAnswer]:
    return [graded(at, "pink" if at in wrong else right(at)) for at in range(count)]


def opened(name: str, data: Path) -> Task:
    assert name == "small"
    return SmallTask(1000)


def test_runs_are_compared_question_by_question(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(30, 0, 1, 2, 3, 4, 5), model="one")
    b = run(tmp_path / "b", answers_of(30, 0, 1, 9), model="other")
    comparison = compare_runs(a, b)
    paired = comparison.total.paired
    assert paired is not None
    assert (paired.n, paired.only_first, paired.only_second) == (30, 1, 4)
    assert (paired.first, paired.second) == (24 / 30, 27 / 30)
    assert paired.difference == pytest.approx(0.1)
    assert paired.p_value == pytest.approx(2 * (1 / 32) + 5 / 32)  # mid-p of 1 against 4
    assert [(one.kind, one.paired.n) for one in comparison.kinds if one.paired] == [
        ("shade", 10),
        ("colour", 20),
    ]
    assert (comparison.both_answered, comparison.same_text) == (30, 25)
    assert [one.index for one in comparison.examples] == [9, 2, 3, 4, 5]
    assert comparison.examples[0].texts == (right(9), "pink")
    assert comparison.notes == []


def test_a_run_equals_itself(tmp_path: Path) -> None:
    a = run(tmp_path, answers_of(20, 3))
    comparison = compare_runs(a, a.parent)
    assert comparison.total.paired is not None
    assert (comparison.total.paired.difference, comparison.total.paired.p_value) == (0, 1)
    assert (comparison.same_text, comparison.examples) == (20, [])


def test_other_texts_of_the_same_credit_are_shown_behind_those_of_another(tmp_path: Path) -> None:
    answers = [graded(0, "blue"), graded(1, "pink"), graded(2, "x", credit=None), graded(3, None)]
    a = run(tmp_path / "a", answers)
    b = run(tmp_path / "b", [graded(0, "grey"), *answers_of(4)[1:]])
    examples = compare_runs(a, b).examples
    assert [(one.index, one.better) for one in examples] == [(1, "B"), (0, None), (2, None)]
    assert examples[2].credits == (None, 1.0)


def test_a_name_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [graded(at, "red", kind=f"\x1b[2Jkind{at}") for at in range(2)]
    a = run(tmp_path / "a", answers, model="model\x1b]0;title\x07")
    assert compare(a, a, CompareConfig(), opened) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "?[2Jkind1" in told


def test_failed_questions_are_in_no_pair(tmp_path: Path) -> None:
    answers = answers_of(6)
    answers[2] = graded(2, None)
    answers[3] = graded(3, "red", credit=None)
    comparison = compare_runs(
        run(tmp_path / "a", answers), run(tmp_path / "b", answers_of(6, 2, 3, 4))
    )
    assert comparison.total.paired is not None
    assert (comparison.common, comparison.total.paired.n, comparison.both_answered) == (6, 4, 5)
    assert [one.failed for one in comparison.runs] == [1, 0]


def test_of_runs_with_another_limit_the_common_questions_are_compared(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(12, 11))
    b = run(tmp_path / "b", answers_of(5))
    comparison = compare_runs(a, b)
    assert (comparison.common, comparison.total.paired and comparison.total.paired.n) == (5, 5)
    assert comparison.notes == [
        "A was asked 12 questions and B 5; the 5 that both were asked are compared, while metrics "
        "and times are of all their own."
    ]


def test_another_number_of_tokens_is_told(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(2), max_tokens=8)
    b = run(tmp_path / "b", answers_of(2), max_tokens=16)
    assert compare_runs(a, b).notes == ["A might answer with 8 tokens, B with 16."]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"task": "pope"}, "is of the task small, and .* of pope"),
        ({"digest": "cd" * 32}, "had different questions: .* abababababab…, .* cdcdcdcdcdcd…"),
    ],
)
def test_runs_of_other_questions_are_refused(
    tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    a = run(tmp_path / "a", answers_of(2))
    b = run(tmp_path / "b", answers_of(2), **changed)
    with pytest.raises(CommandError, match=told):
        compare_runs(a, b)


def test_other_questions_under_one_digest_are_refused(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(1))
    b = run(tmp_path / "b", [graded(0, "red", id="another")])
    with pytest.raises(CommandError, match=r"question 0 is another .* 'q0' and 'another'"):
        compare_runs(a, b)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read"),
        ("{}", "no report of this version: manifest: Field required"),
        ("[", "no report of this version: Invalid JSON"),
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    a = run(tmp_path / "a", answers_of(1))
    if text is not None:
        (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=told):
        compare_runs(a, tmp_path / "report.json")


def test_the_command_writes_a_file_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(tmp_path)  # still there: so the page has images
    a = run(tmp_path / "a", answers_of(30, 0, 7, 8), model="one", data=data)
    b = run(tmp_path / "b", answers_of(30, 0), model="<b>other</b>", data=data)
    assert compare(a, b.parent, CompareConfig(out=tmp_path / "out"), opened) == 0
    told = capsys.readouterr().out
    assert re.search(r"all +30 +90.0 % +96.7 % +\+6.7 ", told)
    assert "28 of 30 answers are the same text" in told
    text = (tmp_path / "out" / "compare.json").read_text(encoding="utf-8")
    assert RunComparison.model_validate_json(text) == compare_runs(a, b)
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<b>other</b>" not in page
    assert "&lt;b&gt;other&lt;/b&gt;" in page


def test_a_comparison_lies_beside_b_and_needs_no_data(tmp_path: Path) -> None:
    a = run(tmp_path / "a", [graded(0, "red", logprob=math.log(0.25)), graded(1, None)])
    b = run(tmp_path / "b", [graded(0, "pink"), graded(1, None)])
    assert compare(a, b, CompareConfig(), opened) == 0
    page = (tmp_path / "b" / "compare.html").read_text(encoding="utf-8")
    assert "No picture to show." in page
    assert "credit 100.0 %, probability 25.0 %" in page


def test_runs_in_which_nothing_was_graded_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run(tmp_path / "a", [graded(0, "red", credit=None, kind="")])
    b = run(tmp_path / "b", [graded(0, None, kind="")])
    assert compare(a, b, CompareConfig(), opened) == 0
    assert re.search(r"all +0 ", capsys.readouterr().out)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(1))
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot write"):
        compare(a, a, CompareConfig(out=tmp_path / "file"), opened)


def test_graded_answers_that_were_cut_are_not_compared(tmp_path: Path) -> None:
    a = run(tmp_path / "a", answers_of(30))
    path = tmp_path / "a" / "graded.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    with pytest.raises(CommandError, match=r"tells of 30 questions, and .* of 20"):
        compare_runs(a, run(tmp_path / "b", answers_of(30)))
