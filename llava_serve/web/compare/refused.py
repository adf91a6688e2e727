"""Parameters that a model refuses: a comparison asks it again without them, and says so."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llava_serve.errors import RemoteError, UnsupportedField
from llava_serve.web.compare.fingerprint import fingerprint_of
from llava_serve.web.messages import sha256_of
from llava_serve.web.reply import StreamedReply

_MAY_BE_LEFT_OUT = ("seed", "temperature", "top_p")


async def ask_without_refused(
    ask: Callable[[dict[str, Any]], Awaitable[None]], reply: StreamedReply, body: dict[str, Any]
) -> None:
    """Call `ask` with the body; in a comparison again, without a parameter that was refused.

    The fingerprint of the reply is that of the body which was sent last.
    """
    refused: tuple[str, ...] = ()
    while True:
        try:
            await ask(body)
            return
        except RemoteError as exc:
            if reply.fingerprint is None or exc.code != UnsupportedField.code:
                raise
            if exc.param not in _MAY_BE_LEFT_OUT or exc.param not in body:
                raise
            refused += (exc.param,)
            body = {name: value for name, value in body.items() if name != exc.param}
            reply.fingerprint = await asyncio.to_thread(fingerprint_of, body, sha256_of, refused)
