"""Progress of a stream: the tokens behind what its client has, to go on with at another worker."""

from llava_serve.cluster.upstream.wire import RecordKind, Wire
from llava_serve.protocol.resume import MARK

_MAX_BYTES = 2_000_000  # of tokens, as text: more than any context holds


class Progress:
    """Passes on what stands before a mark, so that text and tokens never part.

    What comes behind the last mark is passed on once the stream has ended well: until then another
    worker may have to generate it. An error that ends the stream is passed on alone.
    """

    def __init__(self, wire: Wire) -> None:
        self.tokens = bytearray()  # of all marks, as JSON has them between brackets
        self._begun_with = 0  # bytes of them
        self.has_ended = False
        self._wire = wire
        self._pending = bytearray()

    @property
    def pending(self) -> bytes:
        """What came in and waits for its mark; all of it, once a stream has ended well."""
        return bytes(self._pending)

    @property
    def pending_bytes(self) -> int:
        """How many bytes are `pending`."""
        return len(self._pending)

    @property
    def is_complete(self) -> bool:
        """Whether the tokens are all that the client has text of."""
        return len(self.tokens) < _MAX_BYTES

    @property
    def has_got_on(self) -> bool:
        """Whether the last stream told any token."""
        return len(self.tokens) > self._begun_with

    def begin(self) -> None:
        """Let a worker's stream follow; what waits for its mark in the last one never came."""
        self._begun_with = len(self.tokens)
        self.has_ended = False
        self._pending.clear()

    def take(self, records: bytes) -> bytes:
        """Return of whole records those that are certain, without marks."""
        separator, certain = self._wire.separator, bytearray()
        record = b""
        for record in records.split(separator)[:-1]:
            if not record.startswith(MARK):
                self._pending += record + separator
                continue
            certain += self._pending
            self._pending.clear()
            if (tokens := record[len(MARK) :]) and self.is_complete:
                self.tokens += b"," + tokens if self.tokens else tokens
        if not self._pending:
            return bytes(certain)
        if record == self._wire.end:
            self.has_ended = True
            certain += self._pending
            self._pending.clear()
        elif self._wire.kind_of(record, "") is RecordKind.ERROR:
            self.has_ended = True
            self._pending.clear()
            certain += record + separator
        return bytes(certain)
