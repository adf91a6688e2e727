"""Password hashes."""

import pytest

from llava_serve.logins.passwords import hashed, is_hash, is_password_of


def test_a_hash_is_of_its_password_alone_and_never_the_same() -> None:
    first, second = hashed("correct horse", 4), hashed("correct horse", 4)
    assert first != second and "horse" not in first
    assert is_password_of(first, "correct horse")
    assert not is_password_of(first, "correct house")


def test_the_spellings_of_a_password_in_unicode_are_one() -> None:
    assert is_password_of(hashed("gr\u00f6\u00dfe 12", 4), "gro\u0308\u00dfe 12")


def test_what_costs_an_attacker_little_is_not_the_default() -> None:
    assert hashed("x").startswith("scrypt$15$8$3$")


@pytest.mark.parametrize(
    "text",
    ["", "secret", "bcrypt$4$8$3$YQ==$YQ==", "scrypt$4$8$3$YQ==$YQ==", "scrypt$99$8$3$YQ==$YQ=="],
)
def test_what_is_no_hash_is_known(text: str) -> None:
    assert is_hash(hashed("x", 4))
    assert not is_hash(text)
