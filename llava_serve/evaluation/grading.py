"""Grading of a run: answers beside the truth, metrics, LLaVA's answer file, submission files."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.manifest import Images
from llava_serve.evaluation.outcome import Outcome
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.run_folder import RunFolder, replaced, writing
from llava_serve.evaluation.task import Answered, GradesTogether, Task

_OF_OPTIONS = ("round_id", "options", "option_char")  # as MMBench's answers are converted by
Questions = Callable[[], Iterable[Question]]


class Grading:
    """Grades the answers of one run; nothing of it grows in memory with the questions."""

    def __init__(self, task: Task, questions: Questions, folder: RunFolder, model: str) -> None:
        self._task, self._questions = task, questions
        self._folder, self._model = folder, model

    def grade(self, images: Images, answers: AnswersFile) -> Outcome:
        """Write the graded answers, and of the original images LLaVA's file and the submission.

        Raises:
            CommandError: the task's data cannot be read any more, or a file cannot be written.
        """
        if isinstance(self._task, GradesTogether):
            folder = self._folder.submission
            if images != "original":
                folder = folder.with_name(f"{folder.name}-{images}")
            self._task.grade_all(self._records(answers), folder)
        tally, answered, failed = self._task.tally(), 0, Counter[str]()
        with ExitStack() as files:
            graded = _written(files, self._folder.graded(images))
            llava = None
            if images == "original":
                llava = _written(files, self._folder.llava_answers(self._model))
            for index, (question, record, grade) in enumerate(self.answered(answers)):
                graded.write(_graded(index, question, record, grade).model_dump_json() + "\n")
                if record.failure is not None:
                    failed[record.failure.code] += 1
                    continue
                answered += 1
                if grade is not None:
                    tally.add(question, grade)
                if llava is not None:
                    llava.write(self._llava_line(question, record))
        if images == "original":
            self._write_submission(answers)
        return Outcome(metrics=tally.metrics(), answered=answered, failed=dict(failed))

    def answered(self, answers: AnswersFile) -> Iterator[Answered]:
        """Yield each question with its answer and grade, in their order."""
        for question, record in self._records(answers):
            grade = None
            if record.failure is None:
                grade = self._task.grade(question, (record.text or "").strip())
            yield question, record, grade

    def _write_submission(self, answers: AnswersFile) -> None:
        folder = self._folder.submission
        with writing(folder):
            folder.mkdir(exist_ok=True)
            self._task.write_submission(self.answered(answers), folder)
            if not any(folder.iterdir()):
                folder.rmdir()

    def _records(self, answers: AnswersFile) -> Iterator[tuple[Question, AnswerRecord]]:
        return zip(self._questions(), answers.in_order(), strict=True)

    def _llava_line(self, question: Question, record: AnswerRecord) -> str:
        """Return a line of LLaVA's answer files.

        Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_loader.py::eval_model (the fields),
        model_vqa_mmbench.py::eval_model (those of questions with options).
        """
        name = f"{self._task.name} {self._model} {record.index}".encode()
        line = {
            "question_id": question.metadata.get("question_id", question.id),
            "prompt": question.metadata.get("prompt", question.prompt),
            "text": (record.text or "").strip(),
            "answer_id": hashlib.sha256(name).hexdigest()[:22],
            "model_id": self._model,
            "metadata": {},
            **{name: question.metadata[name] for name in _OF_OPTIONS if name in question.metadata},
        }
        return json.dumps(line) + "\n"


def _graded(
    index: int, question: Question, record: AnswerRecord, grade: Grade | None
) -> GradedAnswer:
    return GradedAnswer(
        index=index,
        id=question.id,
        kind=question.kind,
        prompt=question.prompt,
        truth=question.truth,
        text=record.text,
        parsed=grade.parsed if grade else None,
        credit=grade.credit if grade else None,
        failure=record.failure.code if record.failure else None,
        logprob=record.logprob,
        tokens=record.tokens,
        first_token_s=record.first_token_s,
        total_s=record.total_s,
    )


def _written(files: ExitStack, path: Path) -> IO[str]:
    draft = files.enter_context(replaced(path))
    return files.enter_context(draft.open("w", encoding="utf-8"))
