"""Compares two runs: reads their folders side by side, and writes a table, a file and a page."""

import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.manifest import Manifest
from llava_serve.evaluation.report.answer_pairs import PairsTally
from llava_serve.evaluation.report.compare_config import CompareConfig
from llava_serve.evaluation.report.compare_table import comparison_lines
from llava_serve.evaluation.report.graded_file import paired_answers
from llava_serve.evaluation.report.pages import comparison_page
from llava_serve.evaluation.report.paired_score import paired_score
from llava_serve.evaluation.report.question_images import Thumbnails, find_thumbnails
from llava_serve.evaluation.report.run_comparison import (
    ComparedRun,
    KindDifference,
    RunComparison,
)
from llava_serve.evaluation.report.run_report import RunReport
from llava_serve.evaluation.run_folder import RunFolder, write_whole
from llava_serve.evaluation.task import Task
from llava_serve.form_fault import first_fault

OpenTask = Callable[[str, Path], Task]  # from the name of a task and the path of its data


def compare(a: Path, b: Path, config: CompareConfig, open_task: OpenTask) -> int:
    """Run the command; returns its exit code.

    Raises:
        CommandError: the runs cannot be compared, or a file is missing, damaged or not writable.
    """
    comparison = compare_runs(a, b)
    thumbnails = _thumbnails(comparison, open_task)
    folder = config.out or _report_path(b).parent
    page = folder / "compare.html"
    write_whole(folder / "compare.json", comparison.model_dump_json(indent=1) + "\n")
    write_whole(page, comparison_page(comparison, thumbnails))
    sys.stdout.write(comparison_lines(comparison) + f"\nThe answers that differ: {page}\n")
    if config.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def compare_runs(a: Path, b: Path) -> RunComparison:
    """Compare two runs by the answers beside their reports, in memory that does not grow.

    Raises:
        CommandError: they are not of the same questions, or a file is missing or damaged.
    """
    paths = _report_path(a), _report_path(b)
    reports = _read(paths[0]), _read(paths[1])
    _require_same_questions(paths, (reports[0].manifest, reports[1].manifest))
    tally = PairsTally()
    lines = (0, 0)
    files = (RunFolder(path.parent).graded("original") for path in paths)
    for one, other in paired_answers(*files):
        lines = (lines[0] + (one is not None), lines[1] + (other is not None))
        if one is None or other is None:
            continue
        if (one.id, one.prompt) != (other.id, other.prompt):
            raise CommandError(
                f"question {one.index} is another in the two runs: {one.id!r} and {other.id!r}, "
                "though both name the same data",
                "Run the task anew with one version of this program.",
            )
        tally.add(one, other)
    for path, report, found in zip(paths, reports, lines, strict=True):
        _require_whole(path, report, found)
    return RunComparison(
        runs=(
            _compared(paths[0], reports[0], tally.failed[0]),
            _compared(paths[1], reports[1], tally.failed[1]),
        ),
        notes=_notes(reports, tally.common),
        common=tally.common,
        both_answered=tally.both_answered,
        same_text=tally.same_text,
        main_metric=reports[0].main_metric,
        total=KindDifference(kind="", paired=paired_score(tally.total)),
        kinds=[
            KindDifference(kind=kind, paired=paired_score(pairs))
            for kind, pairs in tally.kinds.items()
        ],
        examples=tally.examples(),
    )


def _report_path(given: Path) -> Path:
    return given / "report.json" if given.is_dir() else given


def _read(path: Path) -> RunReport:
    remedy = "Name the report.json of a run of `python -m llava_serve.evaluate`, or its folder."
    try:
        return RunReport.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise CommandError(f"cannot read {path}: {exc.strerror or exc}", remedy) from exc
    except ValidationError as exc:
        what = f"{path} is no report of this version: {first_fault(exc)}"
        raise CommandError(what, remedy) from exc


def _require_same_questions(paths: tuple[Path, Path], of: tuple[Manifest, Manifest]) -> None:
    a, b = of
    if a.task != b.task:
        raise CommandError(
            f"{paths[0]} is of the task {a.task}, and {paths[1]} of {b.task}",
            "Compare two runs of one task.",
        )
    if a.digest != b.digest:
        raise CommandError(
            f"the two runs of {a.task} had different questions: the files of {a.data} had the "
            f"SHA-256 {a.digest[:12]}…, and those of {b.data} {b.digest[:12]}…",
            "Run both with the same data.",
        )


def _require_whole(path: Path, report: RunReport, found: int) -> None:
    told = report.answered + report.failed
    if found != told:
        what = f"{path} tells of {told:,} questions, and the graded answers beside it of {found:,}"
        raise CommandError(what, "Give the command of the run once more: it grades all anew.")


def _notes(reports: tuple[RunReport, RunReport], common: int) -> list[str]:
    a, b = (report.manifest for report in reports)
    notes = []
    if a.questions != b.questions:
        notes.append(
            f"A was asked {a.questions:,} questions and B {b.questions:,}; the {common:,} that "
            "both were asked are compared, while metrics and times are of all their own."
        )
    if a.max_tokens != b.max_tokens:
        notes.append(f"A might answer with {a.max_tokens} tokens, B with {b.max_tokens}.")
    for name, report in zip("AB", reports, strict=True):
        if report.missing:
            notes.append(f"{report.missing:,} questions of run {name} were never asked.")
    return notes


def _compared(path: Path, report: RunReport, failed: int) -> ComparedRun:
    return ComparedRun(
        report=str(path),
        manifest=report.manifest,
        failed=failed,
        metrics=report.metrics,
        first_token=report.first_token,
        total_time=report.total_time,
        tokens=report.tokens,
        reliability=report.reliability,
    )


def _thumbnails(comparison: RunComparison, open_task: OpenTask) -> Thumbnails:
    """Find images where the data of a run is still where it was; a comparison needs none."""
    wanted = {one.index for one in comparison.examples}
    for run in comparison.runs:
        data = Path(run.manifest.data)
        try:
            if data.exists():
                return find_thumbnails(open_task(run.manifest.task, data), wanted)
        except CommandError:
            continue
    return {}
