"""A picture that was uploaded once is asked about on every protocol."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from llava_serve.cluster.files.file_store import FileStore, FileStoreLimits
from llava_serve.engines.echo import EchoEngine
from llava_serve.media.limits import FileLimits
from tests.adapters.conftest import stack_of
from tests.adapters.test_messages import asked, client_of, text_of
from tests.adapters.test_responses import client_of as openai_client_of


async def test_an_uploaded_picture_is_named_by_its_id(tmp_path: Path) -> None:
    limits = FileStoreLimits(
        owner_bytes=10**6, total_bytes=10**7, expiry_s=60.0, file=FileLimits(10**6, 10**6)
    )
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    async with (
        stack_of(EchoEngine("echo"), files=FileStore(tmp_path, limits)) as stack,
        openai_client_of(stack.controller) as openai_client,
        client_of(stack.controller) as client,
    ):
        kept = await openai_client.files.create(file=("a.png", file), purpose="vision")
        part: Any = {"type": "input_image", "file_id": kept.id, "detail": "auto"}
        answer = await openai_client.responses.create(
            model="echo", input=[{"role": "user", "content": [part]}]
        )
        assert answer.output_text == "[1 picture: 40x30] "
        block = {"type": "image", "source": {"type": "file", "file_id": kept.id}}
        message = await client.messages.create(
            **asked(messages=[{"role": "user", "content": [block]}])
        )
        assert text_of(message) == "[1 picture: 40x30] "
