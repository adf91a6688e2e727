"""Worker of stamped words: each delta of an answer is the time at which it leaves the worker.

Run as a program it serves, and registers as any worker does. A question is the number of words to
come.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from llava_serve import logs
from llava_serve.config import MediaConfig, MembershipConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.request import Conversation, Delta, GenerateRequest, Usage
from llava_serve.worker.lifecycle import serve

MODEL = "stamped"
TURN_MS = 10**7  # a stamp is as long as a word: it counts milliseconds, and starts again
_PARAGRAPH = 40  # words


def stamp() -> int:
    """Return the time of the wall clock, which a browser has too."""
    return time.time_ns() // 10**6 % TURN_MS


def delay_ms(stamped: int, now: int) -> int:
    """Return what has passed between two stamps."""
    return (now - stamped) % TURN_MS


class StampedEngine(EchoEngine):
    """Yields as many words as were asked for, at a steady rate in paragraphs, for many at once."""

    slots = 256

    def __init__(self, rate: float) -> None:
        super().__init__(MODEL)
        self._step_s = 1 / rate

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        assert isinstance(request.prompt, Conversation)
        count = int(request.prompt.messages[-1].texts[-1])
        began = time.monotonic()
        for at in range(count):
            await asyncio.sleep(began + at * self._step_s - time.monotonic())
            space = "\n\n" if (at + 1) % _PARAGRAPH == 0 else " "
            yield Delta(f"{stamp():07}{space}", so_far=Usage(1, at + 1, 0), tokens=(at,))
        yield Delta("", "stop", Usage(1, count, 0))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--controller", required=True, help="its address")
    parser.add_argument("--state-dir", type=Path, required=True, help="state of the controller")
    parser.add_argument("--rate", type=float, required=True, help="words a second of an answer")
    asked = parser.parse_args(argv)
    logs.configure("warning")
    config = MembershipConfig(
        port=asked.port, controller=(asked.controller,), state_dir=asked.state_dir
    )
    serve(StampedEngine(asked.rate), config, MediaConfig())


if __name__ == "__main__":
    main()
