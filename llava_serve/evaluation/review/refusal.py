"""Refusals of a judge's server: which errors end a run at once, and what its user can do."""

from llava_serve.errors import (
    CommandError,
    ControllerUnreachable,
    ControllerUntrusted,
    RemoteError,
    ServeError,
)

GOES_ON = "What was reviewed so far is kept: the same command goes on from there."
_KEY = "Name a file with the judge's API key with --judge-key-file."
_REMEDIES = {
    401: _KEY,
    402: "See to the account that the judge's API key is of.",
    403: _KEY,
    404: "Correct --judge, --judge-model or --judge-protocol.",
}
# Source: platform.openai.com, "Error codes"; its status is that of a judge that is busy.
_NO_MONEY = "insufficient_quota"
_NO_JUDGE = "Start it, or correct --judge."


def told_of_judge(error: ServeError) -> ServeError:
    """Return an error as one of the judge; a `CommandError` where asking again is in vain."""
    if isinstance(error, ControllerUntrusted):
        what = f"the judge at {error.address} cannot be asked: {error.reason}"
        return CommandError(what, "Correct --ca-file or --judge.")
    if isinstance(error, ControllerUnreachable):
        what = f"the judge does not answer at {error.address}: {error.reason}"
        return RemoteError(what, error.code, error.status, _NO_JUDGE)
    if isinstance(error, RemoteError):
        status = 402 if error.code == _NO_MONEY else error.status
        if status in _REMEDIES:
            what = f"the judge's server refuses every review (HTTP {error.status}): {error}"
            return CommandError(what, f"{_REMEDIES[status]} {GOES_ON}")
    return error
