"""Relay of an answer to its client: status and headers once, whole records, and one end."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from starlette.types import Send

from llava_serve.cluster.forwarding.records import MAX_HELD_BYTES, Records
from llava_serve.cluster.forwarding.resume import Progress
from llava_serve.cluster.upstream.upstream import NotAnswered, UpstreamResponse
from llava_serve.cluster.upstream.wire import Wire
from llava_serve.errors import ServeError, WorkerLost
from llava_serve.http.client_error import remote_error
from llava_serve.protocol import sse
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.resume import RESUME
from llava_serve.protocol.usage import HEADER, TokenCounts, parse_usage, take_usage

# Between two neighbours only, or written anew by this controller's own server.
_NOT_PASSED_BACK = {
    *("connection", "keep-alive", "transfer-encoding", "content-length"),
    *("date", "server", "x-request-id", RESUME.lower()),
}
_NOT_PASSED_TO_CLIENTS = _NOT_PASSED_BACK | {HEADER.lower()}


@dataclass
class Relay:
    """What the client of one request has been sent, whichever workers it comes from.

    A client that has seen signs of life only may still be given the answer of another worker:
    `has_started` says that the status is out, `has_answered` that the answer is one worker's alone,
    since `answered_at`. `on_answer` is called then. Where the worker tells its `progress`, another
    one may go on with the answer even so. `headers` are added to the answer's own. The answer's
    `tokens` are taken out of it unless the client is a controller, which `counts_tokens`.
    """

    wire: Wire
    prompt: str
    send: Send
    on_answer: Callable[["Relay"], None]  # handed this one: they would be garbage in a circle
    clock: Callable[[], float]
    progress: Progress | None = None
    counts_tokens: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: TokenCounts | None = None
    has_started: bool = False
    answered_at: float | None = None
    _has_ended: bool = False

    def __post_init__(self) -> None:
        self.alive_at = self.clock()  # when the last records were passed on

    @property
    def has_answered(self) -> bool:
        return self.answered_at is not None

    async def pass_answer(self, answer: UpstreamResponse) -> str:
        """Pass on a worker's answer; return the outcome's name.

        Raises:
            WorkerLost: it ends too early; another worker may be asked unless `has_answered`, and to
                go on where there is a `progress`.
            NotAnswered: it ends with an error after which the same holds.
            RemoteError: it is no stream, where only a stream can be passed on.
        """
        kind = answer.headers.get("Content-Type", "")
        is_stream = not self.wire.is_native or kind.startswith(sse.MEDIA_TYPE)
        if answer.status < 400 and is_stream:
            return await self._pass_stream(answer)
        content = await answer.rest()
        self.tokens = parse_usage(answer.headers.get(HEADER, ""))
        self.on_answer(self)
        if self._takes_only_records:
            raise remote_error(content, answer.status)
        await self._send_whole(answer, content)
        if answer.status < 400:
            return "ok"
        return "refused" if answer.status < 500 else "failed"

    async def pass_not_answered(self, last: NotAnswered) -> str:
        """Pass on what the last worker said, as the only error."""
        if last.answer.status >= 400 and self._takes_only_records:
            raise remote_error(last.content, last.answer.status)
        await self._send_whole(last.answer, last.content)
        return "failed"

    async def show_life(self, place: LinePlace | None = None) -> None:
        """Tell a client of a stream that more is to come, or its place in line.

        Without a place the status of an answer is left open where it is.
        """
        if place is not None:
            await self._start_stream({})
        if self.has_started and (self.wire.is_native or not self.has_answered):
            await self._write(self.wire.encode_sign_of_life(self.prompt, place))

    async def show_resumed(self) -> None:
        """Tell a client that another worker goes on with its answer."""
        if self.wire.resumed:
            await self._write(self.wire.resumed)

    async def fail(self, error: ServeError) -> None:
        """End a stream with an error, unless it has ended.

        Raises:
            ServeError: this one, where the app can answer it with a status of its own.
        """
        if not self._takes_only_records:
            raise error
        if self._has_ended:
            return
        await self._start_stream(error.headers)
        await self._write(self.wire.encode_error(error))
        await self._end()

    @property
    def _kept_back(self) -> Collection[str]:
        return _NOT_PASSED_BACK if self.counts_tokens else _NOT_PASSED_TO_CLIENTS

    @property
    def _takes_only_records(self) -> bool:
        """LLaVA's clients read nothing but records, and no client anything else in a stream."""
        return not self.wire.is_native or self.has_started

    async def _pass_stream(self, answer: UpstreamResponse) -> str:
        """Pass on whole records as they come; whatever happens, the last one ends the stream."""
        progress = self.progress
        records = Records(self.wire, self.prompt, progress, opens=not self.has_answered)
        try:
            while received := await answer.next_bytes():
                whole, error = records.feed(received), records.refusal
                if progress is not None and progress.has_ended and records.has_failed:
                    whole, error = records.cut_error(whole)
                if whole:
                    await self._pass_records(answer, whole, is_answer=records.has_answered)
                if error is not None:
                    return await self._pass_error(answer, error)
                if records.held_bytes > MAX_HELD_BYTES:
                    reason = f"it sent {MAX_HELD_BYTES:,} bytes that hold no whole text"
                    raise WorkerLost(answer.address, reason)
            if self.wire.end is not None and not records.has_ended:
                raise WorkerLost(answer.address, "it ended the stream too early")
        except WorkerLost:
            if not (records.has_answered and records.has_ended):
                raise
        else:
            await self._start_as(answer)
            await self._write(self._without_usage(records.rest))
        await self._end()
        return "failed" if records.has_failed else "ok"

    async def _pass_records(
        self, answer: UpstreamResponse, whole: bytes, *, is_answer: bool
    ) -> None:
        self.alive_at = self.clock()
        if not (whole := self._without_usage(whole)):
            return
        if not self.has_started:
            await self._start_as(answer)
        if is_answer and not self.has_answered:
            self.answered_at = self.alive_at
            self.on_answer(self)
        await self._write(whole)

    async def _pass_error(self, answer: UpstreamResponse, error: bytes) -> str:
        """End the stream with the worker's error, unless another worker may be asked after it."""
        last = error + self.wire.separator
        if value := self.wire.not_answered(error):
            raise NotAnswered(answer, last, value)
        await self._send_whole(answer, last)
        return "failed"

    def _without_usage(self, records: bytes) -> bytes:
        """Remember the usage in records that are passed on; return what their client is sent."""
        rest, tokens = take_usage(records, self.wire.separator)
        self.tokens = tokens or self.tokens
        return records if self.counts_tokens else rest

    async def _start_as(self, answer: UpstreamResponse, length: int | None = None) -> None:
        """Send status and headers of `answer`, the first time."""
        if self.has_started:
            return
        kept_back = self._kept_back
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if name.lower() not in kept_back
        ]
        headers += [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._start(answer.status, headers)

    async def _start_stream(self, headers: Mapping[str, str]) -> None:
        """Send the status of a stream that has no worker yet, or none any more."""
        shown = {**self.wire.stream_headers, **self.headers, **headers}
        await self._start(200, [(name.encode(), value.encode()) for name, value in shown.items()])

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.has_started:
            return
        self.has_started = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def _send_whole(self, answer: UpstreamResponse, content: bytes) -> None:
        """Send all of an answer; `content` is its body, or the last records of a stream."""
        await self._start_as(answer, len(content))
        await self._end(content)

    async def _end(self, last: bytes = b"") -> None:
        self._has_ended = True
        await self.send({"type": "http.response.body", "body": last, "more_body": False})
