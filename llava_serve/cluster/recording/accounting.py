"""Accounting of requests: each one's tokens go to its key, and a row of it into the audit."""

import time
from collections.abc import Callable

from llava_serve.accounts.accounts import Accounts
from llava_serve.accounts.store import AuditedRequest
from llava_serve.cluster.recording.request_record import RequestRecord
from llava_serve.cluster.recording.token_estimate import counted_tokens


def charged_tokens(record: RequestRecord) -> int:
    """Return the tokens that a request costs its key.

    Those that its worker told; where it worked and told none, those that the line expected. So
    LLaVA's own workers cost something, and so does leaving before an answer that is not streamed.
    """
    if (tokens := record.tokens) is not None:
        return tokens.prompt_tokens + tokens.completion_tokens
    has_worked = record.worker is not None and record.outcome in ("ok", "client_left")
    return counted_tokens(record.expected_tokens) if has_worked else 0


class Accounting:
    """Observes the end of each request. Usable while `accounts` are open."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._clock = clock

    def observe(self, record: RequestRecord) -> None:
        """Charge the key that asked, and write the request down."""
        if (key := record.caller.key) is not None:
            total = charged_tokens(record)
            self._accounts.keys.add_tokens(key, total)
            self._accounts.limits.count_tokens(key, total, record.reserved_tokens)
        if self._accounts.audit is not None:
            self._accounts.audit.add(self._row(record))

    def _row(self, record: RequestRecord) -> AuditedRequest:
        took_s = (record.ended_at or record.arrived_at) - record.arrived_at
        key, tokens = record.caller.key, record.tokens
        moments = {"first_byte_s": record.first_byte_at, "first_token_s": record.first_text_at}
        timings = {
            name: round(at - record.arrived_at, 6) for name, at in moments.items() if at is not None
        }
        return AuditedRequest(
            at=self._clock() - took_s,
            request_id=record.request_id,
            key_id=key.id if key else None,
            model=record.shown_model,
            worker=(record.worker or "")[:255],
            outcome=record.outcome,
            prompt_tokens=tokens.prompt_tokens if tokens else 0,
            completion_tokens=tokens.completion_tokens if tokens else 0,
            image_tokens=tokens.image_tokens if tokens else 0,
            image_sha256=list(record.image_sha256),
            client_fields=dict(record.client_fields),
            timings={**timings, "total_s": round(took_s, 6)},
        )
