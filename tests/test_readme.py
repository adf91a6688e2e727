"""The commands that the README names are ones their programs accept."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llava_serve import args, config
from llava_serve.doctor.__main__ import DoctorConfig
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.evaluation.config import RunConfig
from llava_serve.evaluation.report.compare_config import CompareConfig
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.judging.config import JudgeConfig
from llava_serve.launching.config import LaunchConfig, StatusConfig
from llava_serve.terminal.config import CliConfig
from llava_serve.usage import UsageConfig

README = Path(__file__).parent.parent / "README.md"
SETTINGS: dict[str, type[Any]] = {
    "llava_serve.controller": config.ControllerConfig,
    "llava_serve.model_worker": config.WorkerConfig,
    "llava_serve.sglang_worker": SglangWorkerConfig,
    "llava_serve.gradio_web_server": config.WebConfig,
    "llava_serve.cli": CliConfig,
    "llava_serve.launch": LaunchConfig,
    "llava_serve.launch status": StatusConfig,
    "llava_serve.doctor": DoctorConfig,
    "llava_serve.usage": UsageConfig,
    "llava_serve.judge": JudgeConfig,
    "llava_serve.evaluate": RunConfig,
    "llava_serve.evaluate compare": CompareConfig,
    "llava_serve.evaluate review": ReviewConfig,
}
# How many words without a flag come first.
POSITIONALS = {"llava_serve.evaluate compare": 2}


def _commands() -> list[tuple[str, str]]:
    """Module and flags of each `python -m ...`; a backslash joins a line with the next."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(
        r"python -m ((?:llava_serve|scripts)\S*[^`\s](?: (?:status|compare|review))?)([^`\n]*)",
        text,
    )


def test_every_command_exists() -> None:
    modules = {module for module, _ in _commands()}
    assert modules > SETTINGS.keys()
    assert [name for name in sorted(modules) if find_spec(name.split()[0]) is None] == []


@pytest.mark.parametrize(
    ("module", "flags"), [(module, flags) for module, flags in _commands() if module in SETTINGS]
)
def test_every_flag_is_accepted(module: str, flags: str) -> None:
    own, _, to_workers = flags.partition(" -- ")
    args.parse(SETTINGS[module], shlex.split(own)[POSITIONALS.get(module, 0) :])
    args.parse(config.WorkerConfig, shlex.split(to_workers))


def test_every_file_that_is_linked_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_every_file_on_the_path_of_a_request_is_there() -> None:
    rows = re.findall(r"^\|.*\| (`[^|]*`) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_/]+\.py)`", row)}
    assert len(named) > 15
    assert [name for name in named if not (README.parent / "llava_serve" / name).exists()] == []
