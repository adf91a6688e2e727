"""Records of one stream, cut out of its bytes: what may be passed on, and whether it has ended."""

from llava_serve.cluster.forwarding.resume import Progress
from llava_serve.cluster.upstream.wire import RecordKind, Wire
from llava_serve.protocol import sse

# Of one stream. The largest record of ours is LLaVA's: all of a prompt and its answer, escaped.
MAX_HELD_BYTES = sse.MAX_EVENT_BYTES


class Records:
    """Cuts a byte stream behind whole records, so that nothing is ever appended to half a one.

    What opens an answer is held back until its first text: until then another worker may be asked,
    and a client sees one opening only. With a `progress` the stream has marks, and what they have
    not confirmed is held back too.
    """

    def __init__(
        self, wire: Wire, prompt: str = "", progress: Progress | None = None, *, opens: bool = True
    ) -> None:
        """Without `opens` they go on with an answer that has text already."""
        self._wire = wire
        self._prompt = prompt
        self._progress = progress
        self._whole = b""  # records that came last
        self._opening = bytearray()
        self._rest = bytearray()
        self.has_answered = not opens  # from here on the answer is this worker's alone
        self.refusal: bytes | None = None  # an error that came before any text

    @property
    def last(self) -> bytes:
        """The record that came whole last."""
        return self._whole[: -len(self._wire.separator)].rpartition(self._wire.separator)[2]

    @property
    def rest(self) -> bytes:
        """What is left at the end of a stream: unconfirmed records, and the beginning of one."""
        return self._pending + bytes(self._rest)

    @property
    def held_bytes(self) -> int:
        """How much came in and was neither passed on nor thrown away."""
        pending_bytes = self._progress.pending_bytes if self._progress else 0
        return len(self._rest) + len(self._opening) + pending_bytes

    @property
    def _pending(self) -> bytes:
        return self._progress.pending if self._progress else b""

    def feed(self, received: bytes) -> bytes:
        """Return the bytes to pass on, up to the last separator at most; they may be none."""
        if not (whole := self._cut(received)):
            return b""
        if self._progress is not None and not (whole := self._progress.take(whole)):
            return b""
        self._whole = whole
        return whole if self.has_answered else self._before_text(whole)

    def _cut(self, received: bytes) -> bytes:
        """Return the whole records that end in `received`, and keep what is behind them."""
        separator = self._wire.separator
        if not self._rest and received.endswith(separator):  # as nearly all come
            return received
        searched_bytes = max(len(self._rest) - len(separator) + 1, 0)
        self._rest += received
        end = self._rest.rfind(separator, searched_bytes)
        if end < 0:
            return b""
        whole = bytes(self._rest[: end + len(separator)])
        del self._rest[: end + len(separator)]
        return whole

    def cut_error(self, whole: bytes) -> tuple[bytes, bytes]:
        """Cut off the error that `whole` ends with, and return what comes before it, and it."""
        error = self.last
        return whole[: -len(error) - len(self._wire.separator)], error

    def _before_text(self, whole: bytes) -> bytes:
        separator = self._wire.separator
        records = whole.split(separator)[:-1]
        alive = b""
        for at, record in enumerate(records):
            kind = self._wire.kind_of(record, self._prompt)
            if kind is RecordKind.SIGN_OF_LIFE:
                alive += record + separator
            elif kind is RecordKind.OPENING:
                self._opening += record + separator
            elif kind is RecordKind.ERROR:
                self.refusal = record
                break
            else:
                self.has_answered = True
                opening = bytes(self._opening)
                self._opening.clear()
                return alive + opening + separator.join(records[at:]) + separator
        return alive

    @property
    def has_ended(self) -> bool:
        """True behind a record after which nothing can come."""
        return self.has_failed or self.last == self._wire.end

    @property
    def has_failed(self) -> bool:
        return self._wire.kind_of(self.last, self._prompt) is RecordKind.ERROR
