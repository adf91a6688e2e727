"""Errors of batches: not there, over, or too many at once."""

from llava_serve.errors.base import BadRequest


class BatchUnknown(BadRequest):
    """No batch of whoever asks has the id."""

    code = "batch_not_found"
    status = 404
    remedy = "GET /v1/batches lists yours; one that has ended is forgotten after a month."
    user_told = "there is no such batch"

    def __init__(self, batch_id: str, param: str = "batch_id") -> None:
        super().__init__(f"there is no batch {batch_id[:100]!r}")
        self.param = param


class BatchOver(BadRequest):
    """A batch that has ended cannot be cancelled."""

    code = "batch_over"
    status = 409
    remedy = "What it has answered is in its output file, where it has one."
    user_told = "this batch has ended"

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(f"the batch {batch_id} has ended: it is {status}")


class TooManyBatches(BadRequest):
    """As many batches of one owner are under way as may be."""

    code = "too_many_batches"
    status = 429
    remedy = "Wait until one of them has ended, or cancel one with POST /v1/batches/ID/cancel."
    user_told = "too many batches are under way"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} batches of yours are under way already, the most there may be")
        self.headers = {"Retry-After": "60"}
