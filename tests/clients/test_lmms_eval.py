"""lmms-eval, unmodified against a controller, and driven by `evaluate`, with equal metrics."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import ModelConfig
from llava_serve.engines.build import build_engine
from llava_serve.http import serving
from llava_serve.tiny import CHECKPOINT, ONE_WORD
from tests.clients.conftest import join
from tests.clients.drawn_task import write_group, write_task, write_variant
from tests.until import bounded, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-client-lmms-eval" / "bin" / "python"
MODEL = "one-word"
QUESTIONS = 40
_PATIENCE_S = 400  # it imports torch, and reads a thousand YAML files twice


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def controller() -> AsyncIterator[str]:
    """Address of a controller with the checkpoint that answers in one word."""
    registry = Registry(DISPATCH["shortest_queue"])
    config = ModelConfig(model_path=str(ONE_WORD), model_base=str(CHECKPOINT), model_name=MODEL)
    engine = build_engine(config, slots=4)
    async with AsyncExitStack() as stack:
        stack.callback(engine.close)
        app = build_app(registry, AdmissionPolicy("clients"))
        address = await stack.enter_async_context(serving.served(app))
        await join(stack, registry, engine)
        yield address


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lmms-eval")
    write_task(folder, "drawn", QUESTIONS)
    write_task(folder, "drawn_few", 6)
    write_task(folder, "drawn_long", 6, too_long=2)
    write_group(folder, "drawn_both", "drawn_few", "drawn_long")
    return folder


@asynccontextmanager
async def started(*words: str | Path, cwd: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start lmms-eval's Python; a process that is still there is killed."""
    assert PYTHON.exists(), "first: bash scripts/clients_env.sh python3 lmms-eval"
    own = {"PYTHONPATH": str(ROOT), "HF_HOME": str(cwd / "hub"), "HF_HUB_OFFLINE": "1"}
    process = await asyncio.create_subprocess_exec(
        *(PYTHON, *words),
        cwd=cwd,
        env={**os.environ, **own},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*words: str | Path, cwd: Path) -> tuple[int | None, str]:
    """Return the exit code of lmms-eval's Python, and what was said."""
    async with started(*words, cwd=cwd) as process, bounded(f"the end of {words[1]}", _PATIENCE_S):
        out, _ = await process.communicate()
    return process.returncode, out.decode(errors="replace")


def evaluate(controller: str, task: str, tasks: Path, out: Path, *more: str) -> list[str | Path]:
    """Return the command that has us ask a task of lmms-eval."""
    asked: list[str | Path] = [
        "-m",
        "llava_serve.evaluate",
        "--task",
        f"lmms:{task}",
        "--include-path",
        tasks,
    ]
    return [*asked, "--controller", controller, "--model", MODEL, "--out", out, *more]


def metrics_of(results: dict[str, Any], task: str) -> dict[str, float]:
    told = results["results"][task]
    return {
        key.removesuffix(",none"): value
        for key, value in told.items()
        if key.startswith("pope_") and "stderr" not in key
    }


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["openai", "async_openai"])
async def its_own(
    request: pytest.FixtureRequest, controller: str, tasks: Path
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics and samples of lmms-eval's own command line."""
    kind: str = request.param
    out = tasks / kind
    code, said = await run(
        *("-m", "lmms_eval", "--model", kind),
        *("--model_args", f"base_url={controller}/v1,model={MODEL},api_key=none,timeout=120"),
        *("--tasks", "drawn", "--include_path", tasks, "--output_path", out, "--log_samples"),
        cwd=tasks,
    )
    assert code == 0, said[-4000:]
    assert "|drawn|none|  0|pope_accuracy " in said
    (results,) = out.rglob("*_results.json")
    (samples,) = out.rglob("*_samples_drawn.jsonl")
    return metrics_of(json.loads(results.read_bytes()), "drawn"), lines_of(samples)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ours(controller: str, tasks: Path) -> tuple[Path, int]:
    """Folder of a run that was killed and given again, and the answers before that."""
    out = tasks / "run"
    command = evaluate(controller, "drawn", tasks, out, "--concurrency", "1")
    answers = out / "answers.jsonl"
    async with started(*command, cwd=tasks) as process:
        told = asyncio.create_task(process.communicate())
        await until(
            lambda: told.done() or (answers.exists() and answers.read_bytes().count(b"\n") >= 5),
            "five answers",
            _PATIENCE_S,
        )
        assert not told.done(), told.result()[0].decode(errors="replace")[-4000:]
        process.kill()
        await told
    before = answers.read_bytes()
    assert before.count(b"\n") < QUESTIONS
    code, said = await run(*evaluate(controller, "drawn", tasks, out), cwd=tasks)
    assert code == 0, said[-4000:]
    whole = before[: before.rfind(b"\n") + 1]
    assert answers.read_bytes().startswith(whole)
    return out, whole.count(b"\n")


async def test_its_command_line_works_unmodified(
    its_own: tuple[dict[str, float], list[dict[str, Any]]],
) -> None:
    metrics, samples = its_own
    assert len(samples) == QUESTIONS
    right = sum(sample["filtered_resps"] == sample["target"] for sample in samples)
    assert metrics["pope_accuracy"] == right / QUESTIONS > 0.8
    assert metrics["pope_yes_ratio"] == 0.5
    assert all(sample["token_counts"][0]["output_tokens"] > 0 for sample in samples)


async def test_evaluate_comes_to_the_same_metrics_after_a_kill(
    its_own: tuple[dict[str, float], list[dict[str, Any]]], ours: tuple[Path, int]
) -> None:
    metrics, samples = its_own
    folder, _ = ours
    outcomes = json.loads((folder / "outcomes.json").read_bytes())
    assert outcomes == {"original": {"metrics": metrics, "answered": QUESTIONS, "failed": {}}}
    graded = lines_of(folder / "graded.jsonl")
    assert [one["text"] for one in graded] == [sample["filtered_resps"] for sample in samples]
    results = json.loads((folder / "submission" / "lmms_eval_results.json").read_bytes())
    assert metrics_of(results, "drawn") == metrics
    assert results["n-samples"] == {"drawn": {"original": QUESTIONS, "effective": QUESTIONS}}


async def test_what_was_answered_before_the_kill_is_not_asked_again(
    ours: tuple[Path, int],
) -> None:
    folder, before = ours
    assert before >= 5
    answers = lines_of(folder / "answers.jsonl")
    assert sorted(answer["index"] for answer in answers) == list(range(QUESTIONS))


async def test_each_answer_is_graded_by_the_main_metric(ours: tuple[Path, int]) -> None:
    folder, _ = ours
    graded = lines_of(folder / "graded.jsonl")
    assert [one["credit"] for one in graded] == [one["text"] == one["truth"] for one in graded]
    assert all(one["total_s"] > 0 and one["tokens"] > 0 for one in graded)


async def test_a_question_that_fails_is_told_and_is_in_no_metric_of_a_group(
    controller: str, tasks: Path
) -> None:
    folder = tasks / "both"
    code, said = await run(*evaluate(controller, "drawn_both", tasks, folder), cwd=tasks)
    assert code == 1, said[-4000:]
    assert re.search(
        r"^lmms:drawn_both of one-word: pope_accuracy .*, 11 of 12 answered", said, re.M
    )
    assert "failed: 1 of context_length_exceeded" in said
    graded = lines_of(folder / "graded.jsonl")
    (failed,) = [one for one in graded if one["failure"]]
    assert (failed["id"], failed["kind"]) == ("drawn_long/2", "drawn_long")
    assert (failed["credit"], failed["text"]) == (None, None)
    (outcome,) = json.loads((folder / "outcomes.json").read_bytes()).values()
    credits = {kind: credits_of(graded, kind) for kind in ("drawn_few", "drawn_long")}
    for kind, credit in credits.items():
        assert outcome["metrics"][f"{kind}/pope_accuracy"] == pytest.approx(
            sum(credit) / len(credit)
        )
    every = [*credits["drawn_few"], *credits["drawn_long"]]
    assert outcome["metrics"]["pope_accuracy"] == pytest.approx(sum(every) / 11)
    results = json.loads((folder / "submission" / "lmms_eval_results.json").read_bytes())
    assert results["n-samples"]["drawn_long"] == {"original": 6, "effective": 5}


def credits_of(graded: list[dict[str, Any]], kind: str) -> list[float]:
    return [one["credit"] for one in graded if one["kind"] == kind and not one["failure"]]


_LOADING = """
import sys
from pathlib import Path
from llava_serve.errors import ServeError
from llava_serve.evaluation.lmms_eval.loading import load_task
for name in sys.argv[2:]:
    try:
        load_task(name, Path(sys.argv[1]))
    except ServeError as exc:
        print(exc.with_remedy)
"""


async def test_a_task_that_cannot_be_asked_is_told_with_what_to_do(tasks: Path) -> None:
    write_variant(tasks, "drawn_beams", "generation_kwargs:", "  num_beams: 4")
    write_variant(tasks, "drawn_likely", "output_type: loglikelihood")
    write_variant(tasks, "drawn_rounds", "output_type: generate_until_multi_round")
    write_variant(tasks, "drawn_gone", "dataset_kwargs:", f"  data_dir: {tasks}/gone")
    names = ("drawn_beams", "drawn_likely", "drawn_rounds", "drawn_gone", "popee")
    code, said = await run("-c", _LOADING, tasks, *names, cwd=tasks)
    assert code == 0, said[-4000:]
    told = [line for line in said.splitlines() if "lmms-eval" in line]
    beams, likely, rounds, gone, unknown = told
    assert "'drawn_beams' asks for num_beams: 4, which cannot be asked of a server" in beams
    assert "'drawn_likely' is of output_type loglikelihood" in likely
    assert "'drawn_rounds' is of output_type generate_until_multi_round" in rounds
    assert "cannot load the task 'drawn_gone'" in gone
    assert f"{tasks}/gone" in gone
    assert "lmms-eval has no task 'popee'; near to it are pope" in unknown
