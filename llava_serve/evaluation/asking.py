"""Asking of one question: its body, with files as data: URIs, and its answer with timings."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from llava_serve.client import ChatClient
from llava_serve.errors import ServeError
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.image_changes import Show
from llava_serve.evaluation.manifest import Detail
from llava_serve.evaluation.question import Medium, Question, Turn
from llava_serve.media.data_uri import data_uri

logger = logging.getLogger(__name__)

_REFUSED = (400, 422)  # of a field


class Asker:
    """Asks with the same `fields` each time; `show` gives the files for a question's media.

    Each image is asked for in `detail`, where it is given. Log-probabilities are left out from the
    first request on that is refused for them.
    """

    def __init__(
        self,
        client: ChatClient,
        fields: Mapping[str, Any],
        show: Show,
        detail: Detail | None = None,
        *,
        with_logprobs: bool,
    ) -> None:
        self._client = client
        self._fields = fields
        self._show = show
        self._of_image = {} if detail is None else {"detail": detail}
        self._with_logprobs = with_logprobs

    async def ask(self, index: int, question: Question) -> AnswerRecord:
        """Return the answer to a question.

        Raises:
            ServeError: there is none; `MediaUnreadable` or `MediaTooLarge` where its files cannot
                be shown.
        """
        body = await asyncio.to_thread(self._body, question)
        with_logprobs = self._with_logprobs
        try:
            return await self._answer(index, body, with_logprobs)
        except ServeError as exc:
            if not with_logprobs or exc.status not in _REFUSED or "logprobs" not in exc.message:
                raise
            if self._with_logprobs:
                logger.warning("the server tells no log-probabilities: %s", exc.message)
                self._with_logprobs = False
            return await self._answer(index, body, False)

    def _body(self, question: Question) -> dict[str, Any]:
        media = [medium for turn in question.turns for medium in turn.media]
        files = zip(media, self._show(media), strict=True)
        messages = [_message(turn, files, self._of_image) for turn in question.turns]
        return {**self._fields, **question.settings, "messages": messages}

    async def _answer(self, index: int, body: dict[str, Any], with_logprobs: bool) -> AnswerRecord:
        if with_logprobs:
            body = {**body, "logprobs": True}
        answer = _IncomingAnswer()
        async for chunk in self._client.stream(body):
            answer.usage = chunk.usage or answer.usage
            for choice in chunk.choices:
                answer.add(choice.delta.content or "")
                answer.finish_reason = choice.finish_reason or answer.finish_reason
                if choice.logprobs:
                    answer.logprobs += [one.logprob for one in choice.logprobs.content or ()]
        return answer.record(index)


class _IncomingAnswer:
    """One answer as it comes in."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first: float | None = None
        self._texts: list[str] = []
        self.logprobs: list[float] = []
        self.finish_reason: str | None = None
        self.usage: Any = None

    def add(self, text: str) -> None:
        """Take the next text."""
        if text and self._first is None:
            self._first = time.perf_counter() - self._began
        self._texts.append(text)

    def record(self, index: int) -> AnswerRecord:
        """Return the answer, which has ended."""
        return AnswerRecord(
            index=index,
            text="".join(self._texts),
            finish_reason=self.finish_reason,
            logprob=sum(self.logprobs) if self.logprobs else None,
            tokens=self.usage.completion_tokens if self.usage else None,
            prompt_tokens=self.usage.prompt_tokens if self.usage else None,
            first_token_s=self._first,
            total_s=time.perf_counter() - self._began,
        )


def _message(
    turn: Turn, files: Iterator[tuple[Medium, bytes]], of_image: Mapping[str, str]
) -> dict[str, Any]:
    if not turn.media:
        return {"role": turn.role, "content": turn.text}
    parts: list[dict[str, Any]] = []
    told = 0
    for place in turn.places or [0] * len(turn.media):
        if place > told:
            parts.append({"type": "text", "text": turn.text[told:place]})
            told = place
        medium, data = next(files)
        name = f"{medium.kind}_url"
        options = of_image if medium.kind == "image" else {}
        parts.append({"type": name, name: {"url": data_uri(data), **options}})
    if told < len(turn.text):
        parts.append({"type": "text", "text": turn.text[told:]})
    return {"role": turn.role, "content": parts}
