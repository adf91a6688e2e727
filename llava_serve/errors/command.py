"""Errors that end a command before it serves."""

from llava_serve.errors.base import ServeError


class CheckpointError(ServeError):
    """A checkpoint cannot be loaded; the message says which file or flag to change."""

    code = "checkpoint_error"
    remedy = (
        'The table under "A real model" in the README has the flags for each kind of checkpoint.'
    )
    user_told = "the model cannot be loaded"


class CommandError(ServeError):
    """A command cannot do what its user asks; never leaves on the wire."""

    code = "command_error"
    user_told = "the server was not started as it should be"

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy
