"""Resumption between controller and worker: tokens told in a stream, and given to go on with.

A controller of the cluster asks for them with the header `RESUME`, whose value is the Unix time at
which the answer began. The worker then returns that header, and writes a mark behind all that it
sends of one delta, but for the last one: what stands before a mark and the tokens in it belong
together. Another worker of the same fingerprint is sent the same body with the tokens of all marks
in `RESUME_TOKENS`, and its answer goes on behind them.
"""

from collections.abc import Iterable

RESUME = "X-Llava-Resume"
RESUME_TOKENS = "resume_tokens"
MARK = (
    b": tokens "  # clients of server-sent events skip it as a comment; the controller cuts it out
)


def mark(tokens: Iterable[int], separator: bytes) -> bytes:
    """Return the record that tells `tokens`, on a wire that ends records with `separator`."""
    return MARK + ",".join(map(str, tokens)).encode() + separator


def with_tokens(body: bytes, tokens: bytes | bytearray) -> bytes:
    """Return `body`, a JSON object with fields, with `tokens` as one more field.

    `tokens` are those of marks, joined by commas.
    """
    start = body.rstrip()[:-1]
    return b'%s,"%s":[%s]}' % (start, RESUME_TOKENS.encode(), tokens)
