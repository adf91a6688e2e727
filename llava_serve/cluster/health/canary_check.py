"""Canary check: the questions about drawn pictures that one worker is asked, and its answers."""

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from random import Random

from pydantic_core import from_json

from llava_serve import logs
from llava_serve.cluster.health.canary_images import draw_questions
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.sight import CanaryAnswer, Comparison, Sight, judge
from llava_serve.cluster.upstream.upstream import Upstream
from llava_serve.cluster.upstream.wire import NATIVE
from llava_serve.errors import NOT_ANSWERED, RemoteError, Unavailable, WorkerUnreachable
from llava_serve.http.client_error import remote_error
from llava_serve.protocol.cluster import CANARY

_ANSWER_S = 60.0
_MAX_TOKENS = 8
_TOP = 20  # the most that the wire gives


@dataclass
class CanaryCheck:
    """Asks workers as a member of the cluster, which `token` proves."""

    upstream: Upstream
    token: str
    random: Random = field(default_factory=Random)

    async def look(self, worker: RegisteredWorker) -> Sight:
        """Ask a worker, one question after the other, until it has shown that it sees.

        Raises:
            Unavailable: it did not answer.
        """
        comparisons = []
        for question in await asyncio.to_thread(draw_questions, self.random):
            images = (question.first, question.swapped, question.first)
            try:
                answers = [await self._ask(worker, question.text, image) for image in images]
            except RemoteError as exc:
                if exc.status < 500:
                    return Sight(None, f"it does not take the question: {exc.message}")
                return Sight(False, f"it fails at pictures: {exc.message}")
            comparisons.append(Comparison(*answers))
            if comparisons[-1].shows_sight:
                break
        return judge(comparisons)

    async def _ask(self, worker: RegisteredWorker, text: str, image: str) -> CanaryAnswer:
        content = [
            {"type": "image_url", "image_url": {"url": image}},
            {"type": "text", "text": text},
        ]
        body = {
            "model": worker.canary_model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
            "min_tokens": 1,
            "logprobs": True,
            "top_logprobs": _TOP,
        }
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {self.token}",
            "X-Request-ID": logs.new_request_id(),
            CANARY: "1",
            # Its last two digits say that this is in no trace. Source: W3C Trace Context, 3.2.2.5.
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
        }
        encoded = json.dumps(body).encode()
        async with self.upstream.post(
            worker.address, NATIVE.path, encoded, headers, _ANSWER_S
        ) as answer:
            received = await answer.rest()
            if answer.headers.get(NOT_ANSWERED) or answer.status in (429, 503):
                raise Unavailable(f"it has no room for the question (HTTP {answer.status})")
            if answer.status != 200:
                raise remote_error(received, answer.status)
        try:
            return CanaryAnswer.of(from_json(received))
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise WorkerUnreachable(worker.address, "its answer is no chat completion") from exc
