"""The error tree is complete and travels whole."""

import inspect
import re
from typing import get_type_hints

import pytest

from llava_serve import errors
from llava_serve.errors import (
    FOR_OPERATORS,
    ContextOverflow,
    FolderRefused,
    MediaUnreadable,
    PresetRefused,
    RemoteError,
    ServeError,
)

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


@pytest.mark.parametrize("error", [error for error in TREE if error.status == 503])
def test_what_passes_says_when_to_come_back(error: type[ServeError]) -> None:
    assert int(error.headers["Retry-After"]) > 0


def test_an_error_that_another_process_called_passing_says_when_to_come_back() -> None:
    assert "Retry-After" in RemoteError("m", "c", 503, "r").headers
    assert "Retry-After" not in RemoteError("m", "c", 400, "r").headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "service_unavailable_error"),
    ],
)
def test_the_type_is_openais_for_the_status(status: int, kind: str) -> None:
    body = RemoteError("message", "code", status, "Do so.").as_body()
    assert body["error"]["type"] == kind


# What no user of the page can do anything with, in each of its forms.
OPERATORS_WORDS = (
    "http://10.0.0.7:40001 refused /var/log/x; --max-body-mb, GET /v1/models, python -m llava_serve"
)


def said(error: type[ServeError]) -> ServeError:
    """Make the error with operators' words wherever it takes a text."""
    if not inspect.isfunction(error.__init__):
        return error(OPERATORS_WORDS)
    values = {str: OPERATORS_WORDS, int: 503, float: 5.0, list[str]: [OPERATORS_WORDS]}
    takes = {
        name: kind for name, kind in get_type_hints(error.__init__).items() if name != "return"
    }
    return error(**{name: values[kind] for name, kind in takes.items()})


@pytest.mark.parametrize("error", TREE)
def test_a_user_of_the_page_reads_no_operators_words(error: type[ServeError]) -> None:
    one = said(error)
    assert re.search(r"http|--|GET|python -m|/var", one.for_user) is None
    assert FOR_OPERATORS.search(one.for_user) is None
    assert one.user_message and one.user_remedy.endswith(".")


@pytest.mark.parametrize("error", TREE)
def test_an_error_that_came_over_the_wire_tells_a_user_the_same(error: type[ServeError]) -> None:
    sent = said(error)
    arrived = RemoteError.from_body(sent.as_body("req-1"), sent.status)
    assert (arrived.user_message, arrived.user_remedy) == (sent.user_message, sent.user_remedy)
    assert (arrived.message, arrived.remedy) == (sent.message, sent.remedy)


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("the prompt has 900 tokens and/or 200 are asked", True),
        ("'a/b.png' is no picture -- it is text", True),
        ("--max-body-mb is 50", False),
        ("it lies at /home/operator/x", False),
        ("see http://w:1", False),
        ("ask GET /v1/models", False),
    ],
)
def test_a_text_of_another_program_is_told_unless_it_is_for_operators(
    message: str, is_told: bool
) -> None:
    body = {"error": {"message": message, "code": "theirs", "remedy": "Set --theirs."}}
    arrived = RemoteError.from_body(body, 503)
    assert (message in arrived.user_message) == is_told
    assert "--" not in arrived.user_remedy


@pytest.mark.parametrize("refused", [FolderRefused, PresetRefused])
def test_each_reason_of_a_refusal_has_a_remedy_of_its_own(refused: type[ServeError]) -> None:
    reasons = refused.__subclasses__()
    remedies = {reason.user_remedy for reason in [refused, *reasons]}
    assert len(reasons) > 1 and len(remedies) == len(reasons) + 1


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


def test_the_message_ends_with_the_remedy_which_clients_show_no_more_than_once() -> None:
    sent = ContextOverflow(prompt_tokens=900, max_tokens=200, context_length=1024)
    arrived = RemoteError.from_body(sent.as_body(), sent.status)
    for error in (sent, arrived, RemoteError.from_body(arrived.as_body(), arrived.status)):
        told = error.as_body()["error"]
        assert told["message"] == f"{sent.message}. {sent.remedy}"
        assert told["remedy"] == sent.remedy


@pytest.mark.parametrize("body", ["<html>502</html>", {"detail": "x"}, {"error": "text"}, None])
def test_a_foreign_error_body_becomes_the_message(body: object) -> None:
    assert str(body) in RemoteError.from_body(body, 502).message


@pytest.mark.parametrize("name", ["README.md", "localhost.log", "my --old.txt", "a 10.0.0.1.txt"])
def test_what_a_user_named_does_not_hide_what_is_wrong_with_it(name: str) -> None:
    error = MediaUnreadable(f"{name!r} is no picture or video that can be shown; it is text")
    assert error.user_message == error.message
