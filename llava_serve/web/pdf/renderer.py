"""PDF renderer: a process for each PDF, few at once, that is killed when it takes too long."""

import asyncio
import json
import logging
import math
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from starlette.types import Scope

from llava_serve.errors import PdfRefused
from llava_serve.storage.identity import Identity
from llava_serve.web.browser_identity import identity_of
from llava_serve.web.crowd import Crowd, address_of

logger = logging.getLogger(__name__)

_PROGRAM = "llava_serve.web.pdf.page_images"
_WRONG = {
    "empty": "has no pages",
    "locked": "is locked with a password",
    "damaged": "is damaged, or is not all there",
}
_FAILED = "cannot be shown: drawing its pages failed, or took too much memory"


@dataclass(frozen=True, slots=True)
class PdfLimits:
    """What rendering the pages of one PDF may take, how many are rendered at once, and wait."""

    timeout_s: float = 30.0
    memory_bytes: int = 1_000_000_000
    at_once: int = 2
    most: int = 32  # rendered or waiting, of one address half as many


@dataclass(frozen=True, slots=True)
class PdfPages:
    """Images of the first pages of a PDF that has `total`."""

    images: list[Path]
    total: int


class PdfRenderer:
    """Belongs to one event loop."""

    def __init__(self, limits: PdfLimits) -> None:
        self._limits = limits
        self._crowd = Crowd("PDFs", limits.most)
        self._turns = asyncio.Semaphore(limits.at_once)
        self._turns_of = WeakValueDictionary[Identity, asyncio.Lock]()  # one PDF at a time

    async def render(self, path: Path, name: str, most_pages: int, scope: Scope) -> PdfPages:
        """Render pages of the PDF into its folder; `name` is what its user calls it.

        Raises:
            PdfRefused: it has no pages that can be rendered within the limits.
            PageBusy: too many wait already.
        """
        turn = self._turns_of.setdefault(identity_of(scope), asyncio.Lock())
        with self._crowd.joined(address_of(scope)):
            async with turn, self._turns:
                told = await self._told(path, name, most_pages)
        if "wrong" in told:
            raise PdfRefused(name, _WRONG[told["wrong"]])
        found = [image for image in path.parent.iterdir() if image.suffix in (".png", ".jpg")]
        return PdfPages(sorted(found, key=lambda image: int(image.stem)), told["pages"])

    async def _told(self, path: Path, name: str, most_pages: int) -> dict[str, Any]:
        """Run the program; return what it prints."""
        limits = self._limits
        numbers = (most_pages, limits.memory_bytes, math.ceil(limits.timeout_s))
        command = [sys.executable, "-m", _PROGRAM, str(path), str(path.parent), *map(str, numbers)]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(limits.timeout_s):
                out, err = await process.communicate()
        except TimeoutError:
            slow = f"cannot be shown: drawing its pages takes longer than {limits.timeout_s:g} s"
            raise PdfRefused(name, slow) from None
        finally:
            await _end(process)
        if process.returncode != 0:
            last = err.decode(errors="replace").strip().rpartition("\n")[2]
            logger.warning("rendering a PDF ended with %s: %s", process.returncode, last)
            raise PdfRefused(name, _FAILED)
        told: dict[str, Any] = json.loads(out)
        return told


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
