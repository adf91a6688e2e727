"""Usage for controllers: how a worker tells them an answer's tokens, beside the answer itself.

A controller asks for it with the header `X-Llava-Usage: 1`. A stream has it in records of its own,
the last one right before its end; a whole answer in the header of the same name. Whoever did not
ask sees nothing of it.
"""

import json
from dataclasses import asdict, dataclass

from pydantic_core import from_json

HEADER = "X-Llava-Usage"
ASKING = {HEADER: "1"}
USAGE_MARK = b": usage "  # clients of server-sent events skip it; the controller cuts it out


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one request, as its worker counted them."""

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_record(self, separator: bytes) -> bytes:
        """Return a record for a wire that ends records with `separator`."""
        return USAGE_MARK + self.as_json().encode() + separator


def parse_usage(text: str | bytes) -> TokenCounts | None:
    """Read `TokenCounts.as_json`; None where `text` is anything else."""
    try:
        content = from_json(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    counts = [content.get(name) for name in TokenCounts.__slots__]
    if not all(isinstance(count, int) and 0 <= count < 2**31 for count in counts):
        return None
    return TokenCounts(*counts)  # type: ignore[arg-type]


def take_usage(stream: bytes, separator: bytes) -> tuple[bytes, TokenCounts | None]:
    """Take the records with usage out of others; return the rest and the last usage."""
    if USAGE_MARK not in stream:
        return stream, None
    *records, end = stream.split(separator)
    rest, usage = b"", None
    for record in records:
        if record.startswith(USAGE_MARK):
            usage = parse_usage(record.removeprefix(USAGE_MARK)) or usage
        else:
            rest += record + separator
    return rest + end, usage
