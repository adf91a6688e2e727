"""Writes by how many MiB the peak of this process grows while it reads images.

python -m tests.media.peak FILE REQUESTS [PICTURES]
"""

import asyncio
import base64
import re
import sys
from pathlib import Path

from llava_serve.config import MediaConfig
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import ChatMessage


def peak_mib() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def main(data: bytes, requests: int, images: int) -> None:
    uri = "data:;base64," + base64.b64encode(data).decode()
    content = [{"type": "image_url", "image_url": {"url": uri}}] * images
    message = ChatMessage.model_validate({"role": "user", "content": content})
    # Half of what is accepted by default, so that half as much memory is written to.
    config = MediaConfig(max_image_megapixels=25, max_megapixels_in_flight=100)
    async with MediaReader(config) as reader:
        before = peak_mib()

        async def read() -> None:
            async with reader.reservation() as reservation:
                conversation = await reader.conversation([message], reservation)
                assert len(conversation.messages[0].images) == images

        await asyncio.gather(*(read() for _ in range(requests)))
        assert reader.pixels.held == 0
    sys.stdout.write(f"{round(peak_mib() - before)}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int((*sys.argv, "1")[3])))
