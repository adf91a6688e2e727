"""Fault of data that is not of its form: which field it is, and what is wrong with it."""

from pydantic import ValidationError


def first_fault(error: ValidationError, skipped: int = 0) -> str:
    """Return the first fault in one line, without the first `skipped` names of the field's place.

    A tagged union puts the tag before the field's own name.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"][skipped:]))
    return f"{field}: {first['msg']}" if field else first["msg"]
