"""An API key is known by its digest alone, and says what it allows."""

import pytest

from llava_serve.api_key import (
    ApiKey,
    id_of,
    is_same,
    issue,
    month_of,
    seconds_to_next_month,
    shown_key,
)

JANUARY_END = 1_769_903_999.0  # 2026-01-31 23:59:59 UTC


def test_a_new_key_is_known_by_its_digest_and_no_other_is() -> None:
    one, other = issue(), issue()
    assert is_same(one.text, one.digest)
    assert not is_same(other.text, one.digest)
    assert one.text not in one.digest


def test_the_id_is_in_the_text_and_stays_when_the_secret_is_new() -> None:
    one = issue()
    again = issue(one.id)
    assert id_of(one.text) == id_of(again.text) == one.id
    assert not is_same(one.text, again.digest)


@pytest.mark.parametrize("text", ["", "sk-llava", "sk-llava-1", "sk-other-1-2", "Bearer", "🔑"])
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert id_of(text) is None


def test_a_secret_with_dashes_keeps_its_id() -> None:
    assert id_of("sk-llava-ab12-se-cr-et") == "ab12"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([("authorization", "Bearer k")], "k"),
        ([("authorization", "bearer  k ")], "k"),
        ([("x-api-key", "k")], "k"),
        ([("authorization", "Bearer other"), ("x-api-key", "k")], "k"),
        ([("authorization", "Basic k")], None),
        ([("accept", "*/*")], None),
    ],
)
def test_both_headers_are_read(headers: list[tuple[str, str]], key: str | None) -> None:
    assert shown_key(headers) == key


def test_a_key_is_active_until_it_expires_or_is_revoked() -> None:
    assert ApiKey(id="1", name="a").state(1e12) == "active"
    assert ApiKey(id="1", name="a", expires_at=10.0).state(9.9) == "active"
    assert ApiKey(id="1", name="a", expires_at=10.0).state(10.0) == "expired"
    assert ApiKey(id="1", name="a", expires_at=10.0, revoked_at=1.0).state(11.0) == "revoked"


def test_months_are_those_of_the_calendar_in_utc() -> None:
    assert (month_of(JANUARY_END), month_of(JANUARY_END + 1)) == ("2026-01", "2026-02")
    assert seconds_to_next_month(JANUARY_END) == 1.0
    assert seconds_to_next_month(1_798_761_600.0 - 2) == 2.0  # the end of 2026
