"""Errors of API keys: none shown, not good, not for this model, or used up."""

import math
from types import MappingProxyType

from llava_serve.errors.base import RETRY_AFTER, BadRequest, CommandError

_ASK_OPERATOR = "Ask whoever runs this server for a key, or for more on yours."


class KeyMissing(BadRequest):
    """A key is asked for, and none was sent."""

    code = "missing_api_key"
    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})
    remedy = (
        "Send the header Authorization: Bearer KEY (or x-api-key: KEY); commands of llava_serve "
        "take --api-key-file. The operator makes keys with python -m llava_serve.keys create."
    )
    user_told = "this page may not ask its server"
    user_remedy = _ASK_OPERATOR

    def __init__(self) -> None:
        super().__init__("an API key is needed and none was sent")


class KeyRefused(BadRequest):
    """The key is unknown, expired or revoked."""

    code = "invalid_api_key"
    status = 401
    headers = KeyMissing.headers
    remedy = "Send another key; the operator makes keys with python -m llava_serve.keys create."
    user_told = "this page may not ask its server"
    user_remedy = _ASK_OPERATOR

    def __init__(self, state: str) -> None:
        """Tell that a key is unknown, expired or revoked."""
        super().__init__(f"the API key is {state}")


class ModelNotAllowed(BadRequest):
    """The key may not ask for this model."""

    code = "model_not_allowed"
    status = 403
    remedy = "Ask for a model that GET /v1/models lists for this key."
    user_told = "this model is not for you"
    user_remedy = "Choose another model."

    def __init__(self, model: str) -> None:
        super().__init__(f"the API key does not allow the model {model!r}")
        self.param = "model"


class AdminOnly(BadRequest):
    """The key has not the role admin."""

    code = "admin_only"
    status = 403
    remedy = "Use a key with the role admin, or the cluster's token."
    user_told = "this is for who runs the server"
    user_remedy = _ASK_OPERATOR

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is for keys with the role admin")


class RateLimited(BadRequest):
    """The key has used its requests, tokens or answers at once, or what runs is to use them."""

    code = "rate_limit_exceeded"
    status = 429
    remedy = "Wait as long as Retry-After says; the operator sets the limits of a key."
    user_told = "more was asked in a short time than is allowed"
    user_remedy = "Wait a moment, then try again."

    def __init__(
        self, what: str, limit: int, retry_after_s: float, why: str = "they are used"
    ) -> None:
        """Tell that a key has used its `limit` of `what`, such as `requests per minute`."""
        super().__init__(f"the API key allows {limit:,} {what}, and {why}")
        self.headers = {RETRY_AFTER: str(max(1, math.ceil(retry_after_s)))}


class BudgetSpent(BadRequest):
    """The key has used its tokens of the month."""

    code = "insufficient_quota"
    status = 429
    remedy = "Wait for the next month, or ask the operator for a larger budget."
    user_told = "what may be asked this month is used up"
    user_remedy = _ASK_OPERATOR

    def __init__(self, limit: int, retry_after_s: float) -> None:
        super().__init__(f"the API key's budget of {limit:,} tokens this month is spent")
        seconds = str(max(1, math.ceil(retry_after_s)))
        # OpenAI's clients would try again in a second: a wait this long is not for them.
        self.headers = {RETRY_AFTER: seconds, "x-should-retry": "false"}


class KeyNameTaken(CommandError):
    """A new key has the name of another."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a key named {name!r} already",
            "Choose another name: a revoked key keeps its own. One that is good still gets a new "
            "secret with rotate.",
        )


class NoSuchKey(CommandError):
    """No key has this name or id, or it cannot be renewed."""

    def __init__(self, name: str, problem: str = "does not exist") -> None:
        super().__init__(
            f"the key {name!r} {problem}",
            "python -m llava_serve.keys list shows every key, and create makes another one.",
        )
