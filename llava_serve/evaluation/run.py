"""Run of a task: survey, questions to the server, grades, report; and the same again goes on."""

import asyncio
import sys
import webbrowser
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

from rich.console import Console

from llava_serve.asked_server import AskedServer, open_server
from llava_serve.errors import ServeError
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.asking import Asker
from llava_serve.evaluation.concurrency import following_slots
from llava_serve.evaluation.config import IMAGES, LMMS, RunConfig
from llava_serve.evaluation.grading import Grading
from llava_serve.evaluation.image_changes import show_of
from llava_serve.evaluation.image_pool import ImagePool
from llava_serve.evaluation.lmms_eval.loading import load_task
from llava_serve.evaluation.manifest import Images, Manifest
from llava_serve.evaluation.outage import Outage
from llava_serve.evaluation.outcome import Outcome
from llava_serve.evaluation.progress import tracked
from llava_serve.evaluation.question import Question
from llava_serve.evaluation.report.write import write_report
from llava_serve.evaluation.run_folder import RunFolder, file_name
from llava_serve.evaluation.runner import Runner
from llava_serve.evaluation.survey import Survey
from llava_serve.evaluation.task import Task
from llava_serve.evaluation.tasks.registry import open_task
from llava_serve.terminal.text import valid_text, visible

_RUNS = Path(".runs", "evaluate")


class Run:
    """One task asked of one model, as the settings say."""

    def __init__(self, config: RunConfig, task: Task) -> None:
        self._config, self._task = config, task
        self._pool = ImagePool()
        self._console = Console(stderr=True)

    def questions(self) -> Iterable[Question]:
        """Return the questions that are asked: all, or the first ones."""
        limit = self._config.limit
        return islice(self._task.questions(), None if limit is None else min(limit, sys.maxsize))

    async def complete(self) -> tuple[RunFolder, Manifest, dict[Images, Outcome]]:
        """Ask what has no answer yet, grade all and report.

        Raises:
            CommandError: the data, the folder or the server cannot be used.
            ServeError: the server cannot be asked.
        """
        survey = await asyncio.to_thread(self._surveyed)
        config = self._config
        async with open_server(config) as server:
            model = valid_text(config.model or await server.model(None))
            manifest = Manifest(
                task=self._task.name,
                data=valid_text(str(config.data or config.include_path or "lmms-eval")),
                digest=survey.digest,
                questions=survey.questions,
                model=model,
                max_tokens=self._task.max_tokens,
                detail=config.detail,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            folder = RunFolder(config.out or _RUNS / _folder_name(config, model))
            with folder.opened(manifest) as manifest, ExitStack() as files:
                answers: dict[Images, AnswersFile] = {}
                for images in self._shown(folder):
                    file = AnswersFile(folder.answers(images), survey.questions)
                    answers[images] = files.enter_context(file)
                    if images in config.shown:
                        await self._ask(server, model, images, answers[images])
                    elif answers[images].count("open"):  # a control that nobody wants completed
                        del answers[images]
                grading = Grading(self._task, self.questions, folder, model)
                outcomes = {
                    images: await asyncio.to_thread(grading.grade, images, file)
                    for images, file in answers.items()
                }
                folder.write_outcomes(outcomes)
                await asyncio.to_thread(write_report, folder, self._task, manifest)
        return folder, manifest, outcomes

    def _shown(self, folder: RunFolder) -> list[Images]:
        """Return what is asked for, and the controls that were asked before."""
        wanted = self._config.shown
        return [one for one in IMAGES if one in wanted or folder.answers(one).exists()]

    def _surveyed(self) -> Survey:
        is_swapping = "swapped" in self._config.shown
        survey = Survey(self._pool if is_swapping else None)
        survey.take(self._task.questions(), self._config.limit)
        if survey.missing:
            self._console.print(
                f"{survey.missing:,} of {survey.files:,} files that the questions name are not "
                f"there, such as {visible(str(survey.first_missing))}: their questions fail",
                markup=False,
                highlight=False,
            )
        if is_swapping:
            self._pool.seal()
        return survey

    async def _ask(
        self, server: AskedServer, model: str, images: Images, answers: AnswersFile
    ) -> None:
        config = self._config
        is_retried = config.retry_failed and answers.count("failed")
        if not answers.count("open") and not is_retried:
            return
        await server.model(model)
        asker = Asker(
            server.client,
            {"model": model, "temperature": 0, "max_tokens": self._task.max_tokens},
            show_of(images, self._pool),
            config.detail,
            with_logprobs=not config.no_logprobs,
        )
        done = answers.count("answered") + (0 if is_retried else answers.count("failed"))
        total = done + answers.count("open") + (answers.count("failed") if is_retried else 0)
        async with following_slots(server, model, config.concurrency) as concurrency:
            runner = Runner(
                asker,
                answers,
                concurrency,
                Outage(config.patience, partial(_serves, server, model)),
                config.attempts,
                config.retry_failed,
            )
            name = self._task.name if images == "original" else f"{self._task.name}, {images}"
            with tracked(name, total, done, self._console) as tracker:
                await runner.run(self.questions(), tracker)


async def _serves(server: AskedServer, model: str) -> bool:
    try:
        return await server.model(model) == model
    except ServeError:
        return False


def _folder_name(config: RunConfig, model: str) -> str:
    """Return a name that runs of other questions do not have: of a file's, or of the first ones."""
    is_file = config.data is not None and config.data.is_file()
    stem = [config.data.stem] if config.data is not None and is_file else []
    limit = [] if config.limit is None else [f"first-{config.limit}"]
    return "-".join(map(file_name, [config.task, *stem, model, *limit]))


def _task_of(config: RunConfig) -> Task:
    if config.data is not None:
        return open_task(config.task, config.data)
    return load_task(config.task.removeprefix(LMMS), config.include_path)


async def run(config: RunConfig) -> int:
    """Ask a task and print what came of it; return the exit code.

    Raises:
        ServeError: a file or the server cannot be used.
    """
    task = _task_of(config)
    folder, manifest, outcomes = await Run(config, task).complete()
    for line in _told(task, manifest, outcomes):
        sys.stdout.write(visible(line) + "\n")
    sys.stdout.write(f"report: {folder.report_html}\n")
    if config.open:
        webbrowser.open(folder.report_html.resolve().as_uri())
    return int(any(one.failed for one in outcomes.values()))


def _told(task: Task, manifest: Manifest, outcomes: dict[Images, Outcome]) -> list[str]:
    lines = []
    for images, outcome in outcomes.items():
        shown = "" if images == "original" else f", {images} images"
        value = outcome.metrics.get(task.main_metric)
        told = f"{value:.4f}" if value is not None else "has no value"
        if not outcome.metrics:
            told = "is not known here: the right answers are not public, or a judge scores them "
            told += "(python -m llava_serve.evaluate review --help)"
        lines.append(
            f"{manifest.task} of {manifest.model}{shown}: {task.main_metric} {told}, "
            f"{outcome.answered:,} of {manifest.questions:,} answered"
        )
        lines += [f"  failed: {count:,} of {code}" for code, count in outcome.failed.items()]
    return lines
