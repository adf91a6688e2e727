"""The error tree is complete and travels whole."""

import inspect

import pytest

from llava_serve import errors
from llava_serve.errors import ContextOverflow, RemoteError, ServeError

TREE = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, ServeError)
]


@pytest.mark.parametrize("error", TREE)
def test_every_error_has_a_code_a_status_and_a_remedy(error: type[ServeError]) -> None:
    assert error.code
    assert 400 <= error.status < 600
    assert error.remedy.endswith(".")


def test_codes_name_one_error_each() -> None:
    codes = [error.code for error in TREE if "code" in vars(error)]
    assert len(codes) == len(set(codes))


def test_the_page_of_documentation_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [error.__name__ for error in TREE if error.__name__ not in errors.__doc__] == []


def test_an_error_arrives_as_it_was_sent() -> None:
    sent = ContextOverflow(prompt_tokens=900, max_tokens=200, context_length=1024)
    arrived = RemoteError.from_body(sent.as_body("req-1"), sent.status)
    assert (arrived.message, arrived.code, arrived.status, arrived.remedy) == (
        sent.message,
        sent.code,
        sent.status,
        sent.remedy,
    )
    assert "900" in arrived.message and "1024" in arrived.message


@pytest.mark.parametrize("body", ["<html>502</html>", {"detail": "x"}, {"error": "text"}, None])
def test_a_foreign_error_body_becomes_the_message(body: object) -> None:
    assert str(body) in RemoteError.from_body(body, 502).message
