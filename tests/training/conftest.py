"""The checkpoint that ships, and training files of the examples that ship with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.media.limits import FileLimits
from llava_serve.tiny import EXAMPLES
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.mixture import Mixture, open_mixture

WriteData = Callable[[list[Any]], Mixture]


@pytest.fixture(scope="session")
def bundled() -> LoadedModel:
    loaded = load(ModelConfig(device="cpu"))
    loaded.model.train(False)
    return loaded


@pytest.fixture
def files() -> MediaFiles:
    limits = FileLimits(20_000_000, 50_000_000)
    return MediaFiles(EXAMPLES, EXAMPLES, limits, num_frames=8)


@pytest.fixture
def write_data(tmp_path: Path) -> WriteData:
    def write(entries: list[Any]) -> Mixture:
        path = tmp_path / "data.json"
        path.write_text(json.dumps(entries), "utf-8")
        return open_mixture(str(path))

    return write


def entry(question: str, answer: str, **media: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "1", "conversations": turns, **media}


def examples() -> list[dict[str, Any]]:
    """Return the questions and answers that ship, as entries of a training file."""
    entries = []
    for example in json.loads((EXAMPLES / "examples.json").read_text("utf-8")):
        names = example["files"]
        kind = "video" if names[0].endswith(".gif") else "image"
        places = f"<{kind}>\n" * len(names)
        media = {kind: names[0] if len(names) == 1 else names}
        entries.append(entry(places + example["question"], example["answer"], **media))
    return entries
