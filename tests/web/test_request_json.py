"""A request's text is what `json.dumps` makes of it, pictures and all."""

import json
from typing import Any

import pytest

from llava_serve.web.request_json import DataUri, dumps


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"seed": None, "stream": True, "top_p": 0.5, "n": []}, id="no pictures"),
        pytest.param(
            {"a": [{"url": DataUri("data:image/png;base64,AA==")}], "b": DataUri("data:,b")},
            id="pictures",
        ),
        pytest.param(
            {"url": DataUri("data:,"), "text": 'says "quoted" \\ and Größe \u2028'}, id="odd text"
        ),
        pytest.param({"text": "data:image/png;base64,typed\n"}, id="typed by a user"),
    ],
)
def test_the_text_says_the_same(body: dict[str, Any]) -> None:
    assert dumps(body) == json.dumps(body)


def test_a_uri_is_copied_and_not_searched() -> None:
    """JSON's own encoder would escape this letter; to look for such takes the time."""
    assert dumps({"url": DataUri("data:,ü")}) == '{"url": "data:,ü"}'
