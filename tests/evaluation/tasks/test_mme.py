"""MME: scores and text files equal those of the authors' tools."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.mme import Mme
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    metrics_of,
    original,
    sha256,
    write_lines,
)

ORIGINAL = original("mme")
RELEASE = "MME_Benchmark_release_version"


def release(folder: Path) -> None:
    for subtask, images in ORIGINAL["release"].items():
        home = folder / RELEASE / subtask
        if subtask not in ORIGINAL["flat"]:
            (home / "images").mkdir(parents=True)
            home = home / "questions_answers_YN"
        home.mkdir(parents=True)
        for stem, pairs in images:
            text = "".join(f"{asked}\t{truth}\n" for asked, truth in pairs)
            (home / f"{stem}.txt").write_text(text)


def llavas_file(folder: Path) -> None:
    write_lines(
        folder / "llava_mme.jsonl",
        (
            {"question_id": image, "image": image, "text": text, "category": image.split("/")[0]}
            for image, text in ORIGINAL["questions"]
        ),
    )


def test_scores_and_files_of_every_constructed_run_equal_the_originals(tmp_path: Path) -> None:
    release(tmp_path)
    llavas_file(tmp_path)
    task = Mme(tmp_path)
    compared = 0
    for number, run in enumerate(ORIGINAL["runs"]):
        answers = answered(task, run["answers"])
        found = metrics_of(task, answers)
        if run["totals"] is not None:
            compared += 1
            assert [found["perception"], found["cognition"]] == pytest.approx(run["totals"])
            scores = {name: found[f"{name}/score"] for name in run["scores"]}
            assert scores == pytest.approx(run["scores"], abs=1e-10)
        paths = task.write_submission(answers, tmp_path / str(number))
        assert len(paths) == 14
        assert sha256(*sorted(paths)) == run["files_sha256"]
    assert compared > 20


def test_the_release_alone_gives_llavas_questions(tmp_path: Path) -> None:
    release(tmp_path)
    own = list(Mme(tmp_path).questions())
    assert own == list(Mme(tmp_path / RELEASE).questions())
    llavas_file(tmp_path)
    llavas = {(question.id, question.prompt): question for question in Mme(tmp_path).questions()}
    assert len(own) == len(llavas)
    for question in own:
        same = llavas[question.id, question.prompt]
        assert (question.kind, question.truth) == (same.kind, same.truth)
        assert question.metadata["file"] == same.metadata["file"]
    assert own[0].kind == "existence"


def test_images_count_only_with_both_answers(tmp_path: Path) -> None:
    home = tmp_path / RELEASE / "count"
    home.mkdir(parents=True)
    for stem in ("a", "b"):
        (home / f"{stem}.txt").write_text("One? Please answer yes or no.\tYes\nTwo?\tNo\n")
    (home / "a.png").touch()
    task = Mme(tmp_path)
    answers = answered(task, ["Yes", "No", "yes\tnot\nso", None])
    assert metrics_of(task, answers) == {
        "perception": 200.0,
        "count/score": 200.0,
        "count/accuracy": 1.0,
        "count/accuracy_plus": 1.0,
    }
    assert answers[0][0].turns[0].media[0].source == home / "a.png"
    (path,) = task.write_submission(answers, tmp_path / "out")
    assert path.read_text().splitlines()[2:] == [
        "b.txt\tOne? Please answer yes or no.\tYes\tyes not so",
        "b.txt\tTwo?\tNo\t",
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("I do not", "other"), ("Unknown", "other"), ("Snow", "no"), ("A yes", "other")],
)
def test_yes_or_no_is_read_in_four_letters(tmp_path: Path, text: str, kind: str) -> None:
    release(tmp_path)
    task = Mme(tmp_path)
    assert task.grade(next(task.questions()), text).parsed == kind


def test_a_missing_release_or_text_file_is_named(tmp_path: Path) -> None:
    llavas_file(tmp_path)
    with pytest.raises(CommandError, match=f"{RELEASE} is not there"):
        next(Mme(tmp_path).questions())
    release(tmp_path)
    image = ORIGINAL["questions"][0][0]
    (gone,) = (tmp_path / RELEASE / image.split("/")[0]).rglob(f"{Path(image).stem}.txt")
    gone.unlink()
    with pytest.raises(CommandError, match=r"\.txt is not there: .* line 1"):
        next(Mme(tmp_path).questions())
    gone.write_text("Another?\tYes\n")
    with pytest.raises(CommandError, match=r"line 1 asks .* does not"):
        next(Mme(tmp_path).questions())
    gone.write_text("Another? Yes\n")
    with pytest.raises(CommandError, match=r"line 1 is not as MME has it"):
        next(Mme(tmp_path).questions())


def test_the_prompt_ends_with_llavas_words(tmp_path: Path) -> None:
    release(tmp_path)
    assert all(
        question.prompt.endswith("?" + SHORT) and "Please" not in question.prompt
        for question in Mme(tmp_path).questions()
    )


def test_answers_may_stand_in_the_tables_of_the_authors_tool(tmp_path: Path) -> None:
    release(tmp_path)
    llavas_file(tmp_path)
    expected = [(question.truth, question.metadata) for question in Mme(tmp_path).questions()]
    for path in (tmp_path / RELEASE).rglob("*.txt"):
        path.unlink()
    for subtask, images in ORIGINAL["release"].items():
        lines = [
            f"{stem}.jpg\t{asked}\t{truth}\n" for stem, pairs in images for asked, truth in pairs
        ]
        table = tmp_path / "eval_tool/Your_Results" / f"{subtask}.txt"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("".join(lines))
    found = [(question.truth, question.metadata) for question in Mme(tmp_path).questions()]
    assert found == expected
