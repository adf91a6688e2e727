"""What cannot be served has its own error, and the SGLang server survives it."""

import json
from typing import Any

import openai
import pytest
from PIL import Image

from scripts.tiny.world import simple_image
from tests.sglang.conftest import Stack, encoded, picture, text

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

HELLO = text("hello")
NO_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
A_FILE = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
A_VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
BAD_SCHEMA = {"name": "x", "schema": {"type": "nonsense"}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "fields", "code", "words"),
    [
        ([text("word " * 5000)], {}, "context_length_exceeded", "holds 4096"),
        ([HELLO], {"max_tokens": 5000}, "context_length_exceeded", "5000 are asked"),
        ([NO_PICTURE], {}, "media_unreadable", "picture 1"),
        ([A_FILE], {}, "remote_media_refused", "data: URIs"),
        ([A_VIDEO], {}, "media_not_accepted", "video"),
        ([text("a <image> b")], {}, "invalid_field", "<image>"),
        ([HELLO], {"extra_body": {"regex": "((("}}, "sglang_refused", "parenthesis"),
        (
            [HELLO],
            {"response_format": {"type": "json_schema", "json_schema": BAD_SCHEMA}},
            "sglang_refused",
            "nonsense",
        ),
        ([HELLO], {"seed": 1, "temperature": 1}, "unsupported_field", "deterministic"),
        ([HELLO], {"logit_bias": {"1": 2}}, "unsupported_field", "logit_bias"),
        ([HELLO], {"temperature": -1}, "invalid_field", "temperature"),
        ([HELLO], {"model": "other"}, "model_not_found", "other"),
    ],
)
async def test_a_request_that_cannot_be_served_is_refused_by_name(
    stack: Stack, content: list[Any], fields: dict[str, Any], code: str, words: str, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        await stack.complete(*content, stream=stream, **fields)
    assert (refused.value.code, refused.value.status_code // 100) == (code, 4)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("", 0), ("hello", 1), ("<image>\nhello", 0), ("<image>\nhello", 2)],
)
async def test_prompts_that_would_kill_the_server_never_reach_it(
    stack: Stack, prompt: str, count: int
) -> None:
    images = [encoded(simple_image("circle", "red"))] * count
    assert json.loads(await stack.old_wire(prompt, images))["error_code"] == 3
    assert await stack.ask(HELLO)


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (100, 1), (3000, 2000)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
async def test_pictures_of_any_kind_and_size_are_served(
    stack: Stack, size: tuple[int, int], mode: str
) -> None:
    assert await stack.ask(picture(Image.new(mode, size)), text("Describe the picture."))
