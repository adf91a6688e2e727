"""Moderation of questions by OpenAI, before any model sees them."""

from collections.abc import Iterable
from pathlib import Path

import openai

from llava_serve.errors import ModerationRefused, ModerationUnavailable

_TIMEOUT_S = 10.0


class Moderation:
    """`base_url` is another server of the same interface; by default OpenAI's."""

    def __init__(self, key: str, base_url: str | None = None) -> None:
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=base_url, timeout=_TIMEOUT_S, max_retries=1
        )

    async def check(self, text: str) -> None:
        """Return when the text passes.

        Raises:
            ModerationRefused: it does not.
            ModerationUnavailable: nobody could tell.
        """
        try:
            reply = await self._client.moderations.create(input=text)
        except openai.OpenAIError as exc:
            raise ModerationUnavailable(str(exc)) from exc
        if flagged := [result.categories for result in reply.results if result.flagged]:
            judged = [pair for one in flagged for pair in one.model_dump(by_alias=True).items()]
            raise ModerationRefused([name for name, applies in judged if applies])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def check_all(moderation: Moderation | None, texts: Iterable[str]) -> None:
    """Check texts one by one, but those without a word; without moderation all pass.

    Raises:
        ModerationRefused, ModerationUnavailable: one does not pass; the others are not checked.
    """
    if moderation is not None:
        for text in filter(None, map(str.strip, texts)):
            await moderation.check(text)


def read_key(file: Path) -> str:
    """Return the key in `file`.

    Raises:
        SystemExit: it cannot be read, or is empty.
    """
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SystemExit(f"--moderation-key-file {file} cannot be read: {exc.strerror}") from exc
    if not key:
        raise SystemExit(f"--moderation-key-file {file} is empty")
    return key
