"""Usage for controllers: how a worker tells them an answer's tokens, beside the answer itself.

A controller asks for it with the header `X-Llava-Usage: 1`. A stream of server-sent events has it
in comments, the last one right before its end; a whole answer in the header of the same name; a
stream of LLaVA's wire in the field `usage` of its chunks. Whoever did not ask sees nothing of it.
"""

import json
from dataclasses import asdict, dataclass

HEADER = "X-Llava-Usage"
ASKING = {HEADER: "1"}
_COMMENT = b": usage "
_END = b"\n\n"


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
        return _COMMENT + self.as_json().encode() + _END


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


def take_usage(events: bytes) -> tuple[bytes, TokenCounts | None]:
    """Take the comments with usage out of whole events; return the rest and the last usage."""
    if _COMMENT not in events:
        return events, None
    rest, usage = b"", None
    for event in events.split(_END)[:-1]:
        if event.startswith(_COMMENT):
            usage = parse_usage(event.removeprefix(_COMMENT)) or usage
        else:
            rest += event + _END
    return rest, usage
