"""Usage for controllers: how a worker tells them an answer's tokens, beside the answer itself.

A controller asks for it with the header `X-Llava-Usage: 1`. A stream has it in records of its own,
the last one right before its end: comments of server-sent events, or objects with nothing but
`usage` on LLaVA's wire. A whole answer has it in the header of the same name. Whoever did not ask
sees nothing of it.
"""

import json
from dataclasses import asdict, dataclass

HEADER = "X-Llava-Usage"
ASKING = {HEADER: "1"}
COMMENT = b": usage "
LLAVA_MARK = b'{"usage":'


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one request, as its worker counted them."""

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_comment(self) -> bytes:
        """Return a comment of server-sent events, which clients skip."""
        return COMMENT + self.as_json().encode() + b"\n\n"

    def as_chunk(self) -> bytes:
        """Return a record of LLaVA's wire."""
        return LLAVA_MARK + self.as_json().encode() + b"}\0"


def parse_usage(text: str | bytes) -> TokenCounts | None:
    """Read `TokenCounts.as_json`; None where `text` is anything else."""
    try:
        return usage_of(json.loads(text))
    except ValueError:
        return None


def usage_of(content: object) -> TokenCounts | None:
    """Return the usage that a decoded object is; None where it is none."""
    if not isinstance(content, dict):
        return None
    counts = [content.get(name) for name in TokenCounts.__slots__]
    if not all(isinstance(count, int) and 0 <= count < 2**53 for count in counts):
        return None
    return TokenCounts(*counts)  # type: ignore[arg-type]


def take_records(stream: bytes, separator: bytes, mark: bytes) -> tuple[bytes, list[bytes]]:
    """Take the records that begin with `mark` out of whole ones; return the rest and those."""
    if mark not in stream:
        return stream, []
    records = stream.split(separator)[:-1]
    rest = [record + separator for record in records if not record.startswith(mark)]
    return b"".join(rest), [record for record in records if record.startswith(mark)]
