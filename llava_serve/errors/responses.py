"""Errors of kept responses: none is kept here, or not this one."""

from llava_serve.errors.base import BadRequest
from llava_serve.errors.http import UnsupportedField


class ResponsesNotKept(UnsupportedField):
    """A request is about an answer that was to be kept, where none is."""

    code = "responses_not_kept"
    remedy = (
        "Send the whole conversation as input, and leave store out or false. The operator lets the "
        "controller keep responses with --keep-responses-days; workers keep none."
    )

    def __init__(self, field: str) -> None:
        super().__init__(field, "needs responses that are kept, and this server keeps none")


class ResponseNotFound(BadRequest):
    """No response of this caller has the id."""

    code = "response_not_found"
    status = 404
    remedy = (
        "It was deleted, has expired, or belongs to another key: to go on with it, send the whole "
        "conversation as input."
    )
    user_told = "what came before in this conversation is not there any more"
    user_remedy = "Begin a new conversation."

    def __init__(self, response_id: str, field: str) -> None:
        super().__init__(f"there is no response {response_id[:200]!r}, or not all before it")
        self.param = field
