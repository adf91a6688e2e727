"""Kinds of VLMEvalKit's TSV files: how their questions are asked, graded and counted."""

import re
from typing import Any, Protocol

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import MetricTally
from llava_serve.evaluation.tasks.open_answer import open_credit, right_answers
from llava_serve.evaluation.tasks.option_answer import option_grade
from llava_serve.evaluation.tasks.option_question import (
    CHINESE,
    ENGLISH,
    option_prompt,
    options_of,
)
from llava_serve.evaluation.tasks.option_tally import OptionTally
from llava_serve.evaluation.tasks.question_line import SHORT_ANSWER
from llava_serve.evaluation.tasks.tsv_file import TsvFile, TsvRow
from llava_serve.evaluation.tasks.yes_no import read_yes_no
from llava_serve.evaluation.tasks.yes_no_groups import tally_of

Asked = tuple[str, Any, dict[str, str] | None]  # prompt, truth, and the choices where there are any

_CHINESE_SIGN = re.compile("[\u4e00-\u9fff]")
# Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/image_mcq.py
# ::ImageMCQDataset.evaluate_heuristic
_CIRCULAR_NAMES = ("mmbench", "ccbench", "circular", "mmcr")


class TsvKind(Protocol):
    """What a file's questions have in common."""

    def asked(self, row: TsvRow) -> Asked: ...

    def grade(self, question: Question, text: str) -> Grade: ...

    def tally(self) -> MetricTally: ...


class OptionRows:
    """Questions with options; one without options is open and has one right answer.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/vlm/llava/llava.py::LLaVA.build_prompt,
    vlmeval/dataset/utils/multiple_choice.py::MMMU_preproc
    """

    def __init__(self, *, circular: bool) -> None:
        self._circular = circular

    def asked(self, row: TsvRow) -> Asked:
        choices = options_of(row)
        truth = row.fields.get("answer")
        prompt = option_prompt(row, choices, row.fields.get("hint"))
        is_chinese = _CHINESE_SIGN.search(prompt)
        if choices:
            prompt += f"\n{CHINESE if is_chinese else ENGLISH}"
        else:
            prompt += "\n请直接回答问题。" if is_chinese else "\nAnswer the question directly."
        if "A" not in choices and truth is not None:
            choices |= {"A": truth, "B": "Other Answers"}
            truth = "A"
        return prompt, truth, choices

    def grade(self, question: Question, text: str) -> Grade:
        return option_grade(question, text)

    def tally(self) -> MetricTally:
        return OptionTally(circular=self._circular)


class YesNoRows:
    """Questions to be answered with yes or no.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/image_yorn.py
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def asked(self, row: TsvRow) -> Asked:
        ending = "\nPlease answer yes or no." if self._name == "AMBER" else ""
        return (
            option_prompt(row, {}, row.fields.get("hint")) + ending,
            row.fields.get("answer"),
            None,
        )

    def grade(self, question: Question, text: str) -> Grade:
        answer = read_yes_no(text)
        if question.truth is None:
            return Grade(answer, None)
        return Grade(answer, float(answer.lower() == question.truth.lower()))

    def tally(self) -> MetricTally:
        return tally_of(self._name)


class OpenRows:
    """Questions with answers of a few words, graded by the metric that goes with a file's name.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/image_vqa.py::ImageVQADataset
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def asked(self, row: TsvRow) -> Asked:
        answer = row.fields.get("answer")
        truth = None if answer is None else right_answers(answer)
        return option_prompt(row, {}, row.fields.get("hint")) + SHORT_ANSWER, truth, None

    def grade(self, question: Question, text: str) -> Grade:
        if question.truth is None:
            return Grade(text, None)
        return Grade(text, open_credit(self._name, text, question.truth))

    def tally(self) -> MetricTally:
        return OptionTally(circular=False)


def kind_of_file(file: TsvFile) -> TsvKind:
    """Return the kind: with options where there is a column A, else by the answers.

    Raises:
        CommandError: the file cannot be read, or is malformed.
    """
    name = file.path.stem
    if "A" in file.columns():
        return OptionRows(circular=any(part in name.lower() for part in _CIRCULAR_NAMES))
    answers = (row.fields["answer"].lower() for row in file.rows() if "answer" in row.fields)
    first = next(answers, None)
    if first in ("yes", "no") and all(answer in ("yes", "no") for answer in answers):
        return YesNoRows(name)
    return OpenRows(name)
