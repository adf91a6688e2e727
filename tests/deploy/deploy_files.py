"""Files of scripts/deploy/ as their tests read them: settings, command lines, the image."""

import re
import shlex
from pathlib import Path
from typing import Any

from llava_serve import args, config

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "scripts" / "deploy"
SETTINGS: dict[str, type[Any]] = {
    "llava_serve.controller": config.ControllerConfig,
    "llava_serve.model_worker": config.WorkerConfig,
    "llava_serve.gradio_web_server": config.WebConfig,
}


def env_file(path: Path) -> dict[str, str]:
    """The variables of an env file; those that must be filled in are."""
    lines = path.read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return values | {name: "a1b2" for name in values if name.endswith("_PASSWORD")}


def parsed(command: str) -> Any:
    python, option, module, *flags = shlex.split(command)
    assert (Path(python).name, option) == ("python", "-m")
    return args.parse(SETTINGS[module], flags)


def instructions() -> list[tuple[str, str]]:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line]
    return [(name, rest) for name, rest in pairs]


def values_of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def image_health_url() -> str:
    (found,) = re.findall(r"HEALTH_URL=(\S+)", " ".join(values_of("ENV")))
    assert isinstance(found, str)
    return found
