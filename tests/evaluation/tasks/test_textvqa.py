"""TextVQA: accuracy equals that of LLaVA's evaluation, for every form of its prompts."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.textvqa import TextVqa
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    metrics_of,
    original,
    write_json,
    write_lines,
)

ORIGINAL = original("textvqa")
CASES = ORIGINAL["questions"]
ANNOTATIONS = "TextVQA_0.5.1_val.json"


def authors_file(folder: Path) -> None:
    entries = [{"image_id": case[0], "question": case[1], "answers": case[3]} for case in CASES]
    write_json(folder / ANNOTATIONS, {"dataset_name": "textvqa", "data": entries})


def llavas_file(folder: Path, prompts: list[str]) -> None:
    write_lines(
        folder / "llava_textvqa_val_v051_ocr.jsonl",
        (
            {"question_id": case[0], "image": f"{case[0]}.jpg", "text": prompt}
            for case, prompt in zip(CASES, prompts, strict=False)
        ),
    )


def test_accuracy_of_every_constructed_answer_equals_the_original(tmp_path: Path) -> None:
    authors_file(tmp_path)
    llavas_file(tmp_path, [case[2] for case in CASES])
    task = TextVqa(tmp_path)
    answers = answered(task, [case[4] for case in CASES])
    credits = [grade.credit for _, _, grade in answers if grade]
    assert credits == pytest.approx([case[5] for case in CASES], abs=1e-12)
    found = metrics_of(task, answers)
    assert found == pytest.approx({"accuracy": ORIGINAL["overall"]}, abs=1e-12)
    assert f"{100 * found['accuracy']:.2f}" == ORIGINAL["printed"]
    assert task.write_submission(answers, tmp_path / "out") == []


def test_the_authors_file_alone_is_asked_without_words_of_an_ocr(tmp_path: Path) -> None:
    authors_file(tmp_path)
    questions = list(TextVqa(tmp_path).questions())
    assert len(questions) == len(CASES)
    assert questions[1].prompt == "What does sign 1 say?" + SHORT
    assert questions[1].truth == CASES[1][3]
    assert questions[1].turns[0].media[0].source == tmp_path / f"train_images/{CASES[1][0]}.jpg"


def test_the_answers_are_needed(tmp_path: Path) -> None:
    llavas_file(tmp_path, [CASES[0][2]])
    with pytest.raises(CommandError, match=ANNOTATIONS) as caught:
        next(TextVqa(tmp_path).questions())
    assert "dl.fbaipublicfiles.com" in caught.value.remedy


@pytest.mark.parametrize("text", ["Another question?" + SHORT, "One line", "a\nb\nc\nd"])
def test_a_question_that_the_answers_do_not_have_is_named(tmp_path: Path, text: str) -> None:
    authors_file(tmp_path)
    llavas_file(tmp_path, [text])
    with pytest.raises(CommandError, match="line 1"):
        next(TextVqa(tmp_path).questions())
