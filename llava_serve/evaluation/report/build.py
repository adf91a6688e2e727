"""Builds the report of a run from the files of its folder, in memory that does not grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llava_serve.evaluation.manifest import Images, Manifest
from llava_serve.evaluation.outcome import Outcome
from llava_serve.evaluation.report.constant_answer import ConstantAnswers
from llava_serve.evaluation.report.graded_file import paired_answers, read_graded, read_records
from llava_serve.evaluation.report.paired_score import add_pair, paired_score
from llava_serve.evaluation.report.question_images import Thumbnails, thumbnails_of
from llava_serve.evaluation.report.run_report import (
    ControlResult,
    FailureExample,
    KindScore,
    PairedScore,
    RunReport,
    WorstAnswer,
)
from llava_serve.evaluation.report.run_tally import CreditCount, RunTally, shortened
from llava_serve.evaluation.report.statistics import PairedTally
from llava_serve.evaluation.run_folder import RunFolder
from llava_serve.evaluation.task import Task


@dataclass(slots=True)
class _AnswerNotes:
    """What the answers' own file tells beyond the graded ones."""

    messages: dict[str, str] = field(default_factory=dict)
    ended: int = 0  # answers of which it is known how they ended
    cut: int = 0


def build_report(folder: RunFolder, task: Task, manifest: Manifest) -> tuple[RunReport, Thumbnails]:
    """Return the report of a run that was graded, and the images of its worst answers.

    Memory does not grow with the questions.

    Raises:
        CommandError: a file of the folder or of the task is missing or damaged.
    """
    outcomes = folder.read_outcomes()
    tally, constants = RunTally(), ConstantAnswers(task)
    for answer in read_graded(folder.graded("original")):
        tally.add(answer)
        constants.count(answer)
    constants.choose()
    worst = tally.worst()
    thumbnails = _walk(folder, task, constants, worst)
    notes = _read_notes(folder)
    total = tally.total
    answered = total.n + total.ungraded
    report = RunReport(
        manifest=manifest,
        asked=manifest.questions,
        answered=answered,
        failed=total.failed,
        missing=max(0, manifest.questions - answered - total.failed),
        failures=[
            FailureExample(code=code, n=n, message=notes.messages.get(code))
            for code, n in sorted(tally.failures.items(), key=lambda one: -one[1])
        ],
        cut=notes.cut if notes.ended else None,
        main_metric=task.main_metric,
        metrics=outcomes["original"].metrics,
        total=_score("", total, constants.best()),
        mean_credit_failed_wrong=total.credit / (total.n + total.failed) if total.n else None,
        kinds=[_score(kind, one, constants.best(kind)) for kind, one in tally.kinds.items()],
        controls=_controls(folder, outcomes),
        first_token=tally.first_token.times(),
        total_time=tally.total_time.times(),
        tokens=tally.token_sum(),
        reliability=tally.calibration.reliability(),
        worst=worst,
    )
    return report, thumbnails


def _score(kind: str, count: CreditCount, constant: tuple[str, float] | None) -> KindScore:
    score = count.score(kind)
    if constant is None:
        return score
    return score.model_copy(update={"constant_answer": constant[0], "constant": constant[1]})


def _walk(
    folder: RunFolder, task: Task, constants: ConstantAnswers, worst: list[WorstAnswer]
) -> Thumbnails:
    """Go through answers and questions side by side."""
    wanted = {one.index for one in worst}
    thumbnails: dict[int, list[str]] = {}
    answers = read_graded(folder.graded("original"))
    answer = next(answers, None)
    for index, question in enumerate(task.questions()):
        if answer is None:
            break
        if index != answer.index:
            continue
        if index in wanted:
            thumbnails[index] = thumbnails_of(question)
        constants.grade(question, answer)
        answer = next(answers, None)
    return thumbnails


def _read_notes(folder: RunFolder) -> _AnswerNotes:
    notes = _AnswerNotes()
    for record in read_records(folder.answers("original")):
        if record.failure is not None:
            notes.messages.setdefault(record.failure.code, shortened(record.failure.message))
        if record.finish_reason is not None:
            notes.ended += 1
            notes.cut += record.finish_reason == "length"
    return notes


def _controls(folder: RunFolder, outcomes: Mapping[Images, Outcome]) -> list[ControlResult]:
    return [
        _control(folder, images, outcome.metrics)
        for images, outcome in outcomes.items()
        if images != "original"
    ]


def _control(folder: RunFolder, images: Images, metrics: dict[str, float]) -> ControlResult:
    count, pairs = CreditCount(), PairedTally()
    files = folder.graded(images), folder.graded("original")
    for control, original in paired_answers(*files):
        if control is not None:
            count.add(control)
            add_pair(pairs, control, original)
    paired = paired_score(pairs)
    return ControlResult(
        images=images,
        asked=count.n + count.ungraded + count.failed,
        failed=count.failed,
        metrics=metrics,
        mean_credit=count.mean,
        paired=paired,
        needs_image=_needs_image(paired),
    )


def _needs_image(paired: PairedScore | None) -> float | None:
    """Return which fraction of the score is lost with the true images; None where there is none."""
    if paired is None or paired.second <= 0:
        return None
    return paired.difference / paired.second
