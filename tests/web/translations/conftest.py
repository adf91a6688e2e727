"""Files of languages, as an operator writes them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

WriteLanguage = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteLanguage:
    """Return what writes the texts of a language into a file, and returns its path."""

    def written(messages: object, language: object = "pl", name: object = "Polski") -> Path:
        path = tmp_path / f"{language}.json"
        whole = {"language": language, "name": name, "messages": messages}
        path.write_text(json.dumps(whole), encoding="utf-8")
        return path

    return written
