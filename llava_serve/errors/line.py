"""Errors of the controller's waiting line: it is full, or the wait took too long."""

from llava_serve.errors.base import BUSY, RETRY_AFTER, Unavailable, not_answered_headers


class LineFull(Unavailable):
    """As many requests wait for the model as may, or as the memory for their bodies holds."""

    code = "line_full"
    headers = not_answered_headers(BUSY)
    remedy = "Wait as long as Retry-After says, or add a worker for the model."
    user_remedy = "Wait a moment, then try again."

    def __init__(self, length: int, about: str, retry_after_s: int) -> None:
        """Tell the length of the line, and `about` when it will be over."""
        super().__init__(f"the line is full: {length} are waiting for this model{about}")
        self.headers = {**self.headers, RETRY_AFTER: str(retry_after_s)}


class OwnLineFull(Unavailable):
    """One caller has as many requests in line as one may have."""

    code = "own_line_full"
    status = 429
    headers = not_answered_headers(BUSY)
    remedy = "Wait as long as Retry-After says, and send fewer requests at once."
    user_remedy = "Wait for the answers to what you have asked already, then try again."

    def __init__(self, own: int, length: int, about: str, retry_after_s: int) -> None:
        """Tell how many of the line are the caller's own."""
        super().__init__(
            f"your part of the line is full: {own} of the {length} that are waiting for this "
            f"model are yours{about}"
        )
        self.headers = {**self.headers, RETRY_AFTER: str(retry_after_s)}


class TurnTakenBack(Unavailable):
    """A request of a batch gave its slot to somebody who waits; it will be asked again."""

    code = "turn_taken_back"
    user_told = "the model had no time for this question"

    def __init__(self) -> None:
        super().__init__("the slot of this request was needed by others")


class LineTimeout(Unavailable):
    """A request has waited in line as long as it may."""

    code = "line_timeout"
    headers = not_answered_headers(BUSY)
    remedy = "Try again, or add a worker for the model; --max-wait is how long one may wait."
    user_told = "the model had no time for this question"
    user_remedy = "Wait a moment, then try again."

    def __init__(self, waited_s: float, length: int, about: str, retry_after_s: int) -> None:
        super().__init__(
            f"no slot came free within {waited_s:g} s: {length} are waiting for this model{about}"
        )
        self.headers = {**self.headers, RETRY_AFTER: str(retry_after_s)}
