"""An error is told in the language of the request, by its code; its own words stand behind."""

from collections.abc import Iterator

import pytest

from llava_serve.errors import (
    BattleOpen,
    ContextOverflow,
    ControllerUnreachable,
    LineFull,
    MediaUnreadable,
    NotJson,
    RemoteError,
    ServeError,
    TextTooLong,
    Unavailable,
    WorkerLost,
)
from llava_serve.web.translations.catalogue import CHINESE, ENGLISH, Catalogue
from llava_serve.web.translations.error_text import ErrorText, as_sentence, error_text
from llava_serve.web.translations.language import current

ADDRESS = "http://10.0.0.7:40001"
OVERFLOW = ContextOverflow(900, 200, 1024)


@pytest.fixture
def chinese() -> Iterator[None]:
    token = current.set(CHINESE)
    yield
    current.reset(token)


def in_chinese(code: str, original: str = "") -> ErrorText:
    return ErrorText(
        CHINESE.translate(f"error.{code}"), CHINESE.translate(f"error.{code}.remedy"), original
    )


@pytest.mark.parametrize("error", [OVERFLOW, BattleOpen(), WorkerLost(ADDRESS, "reset")])
def test_in_english_an_error_is_told_by_its_class(error: ServeError) -> None:
    text = error_text(error)
    assert text == ErrorText(as_sentence(error.user_message), error.user_remedy)
    assert text.whole.lower() == error.for_user.lower()


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    ("error", "code", "original"),
    [
        (
            OVERFLOW,
            "context_length_exceeded",
            "The prompt has 900 tokens and 200 are asked for the answer, but the context holds "
            "1024.",
        ),
        (
            TextTooLong("9 bytes", 4),
            "context_length_exceeded",
            "The text has 9 bytes, which cannot fit: the context holds 4 tokens.",
        ),
        (NotJson("x"), "invalid_field", "Body: is not JSON that can be read (x)."),
        (LineFull(3, "", 1), "line_full", "The line is full: 3 are waiting for this model."),
        (MediaUnreadable("'a.png' is none"), "media_unreadable", "'a.png' is none."),
        (Unavailable("it rests"), "unavailable", "It rests."),
    ],
)
def test_names_and_numbers_of_an_error_stand_behind_its_translation(
    error: ServeError, code: str, original: str
) -> None:
    expected = in_chinese(code, original)
    assert error_text(error) == expected
    assert error_text(error).whole == f"{expected.told} ({original}) {expected.remedy}"
    arrived = RemoteError.from_body(error.as_body("req-1"), error.status)
    assert error_text(arrived) == expected


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    "error",
    [
        BattleOpen(),
        WorkerLost(ADDRESS, "reset"),
        ControllerUnreachable(ADDRESS, "refused"),
        Unavailable(f"{ADDRESS} refused"),
    ],
)
def test_nothing_stands_behind_where_the_own_words_say_no_more(error: ServeError) -> None:
    expected = in_chinese(error.code)
    assert error_text(error) == expected
    assert error_text(error).whole == f"{expected.told} {expected.remedy}"
    arrived = RemoteError.from_body(error.as_body("req-1"), error.status)
    assert error_text(arrived) == expected


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(("status", "code"), [(418, "bad_request"), (502, "unavailable")])
def test_a_code_of_another_program_is_told_by_its_status(status: int, code: str) -> None:
    body = {"error": {"message": "it is 3 o'clock", "code": "theirs", "remedy": "Set --theirs."}}
    text = error_text(RemoteError.from_body(body, status))
    assert text == in_chinese(code, "It is 3 o'clock.")


def test_what_a_language_lacks_is_told_in_english() -> None:
    token = current.set(Catalogue("pl", "Polski", {"error.battle_open": "Koniec."}))
    try:
        assert error_text(OVERFLOW) == ErrorText(as_sentence(OVERFLOW.message), OVERFLOW.remedy)
        assert error_text(BattleOpen()) == ErrorText("Koniec.", BattleOpen.user_remedy)
    finally:
        current.reset(token)


def test_english_of_a_file_may_have_words_of_its_own_for_an_error() -> None:
    own = Catalogue(
        "en", "Plain", {"error.battle_open": "Over.", "error.battle_open.remedy": "Go."}
    )
    token = current.set(own)
    try:
        assert error_text(BattleOpen()).whole == "Over. Go."
        assert ENGLISH.messages.get("error.battle_open") is None
    finally:
        current.reset(token)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("it is", "It is."), ("Is it?", "Is it?"), ("", "."), ("'a' is.", "'a' is.")],
)
def test_a_sentence_has_a_capital_and_an_end(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence
