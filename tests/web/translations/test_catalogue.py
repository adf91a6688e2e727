"""A text with its values and plural forms, English where one is missing, and bad files."""

import json
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.web.translations.catalogue import (
    CHINESE,
    ENGLISH,
    Catalogue,
    plural_categories,
    read,
)
from tests.web.translations.conftest import WriteLanguage

FORMS = {
    "one": "{count} model",
    "few": "{count} modele",
    "many": "{count} modeli",
    "other": "{count} modelu",
}


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "1 model"), (2, "2 modele"), (5, "5 modeli"), (12, "12 modeli"), (22, "22 modele")],
)
def test_a_text_has_the_form_that_its_language_has_for_the_number(
    write: WriteLanguage, count: int, told: str
) -> None:
    polish = read(write({"models": FORMS}))
    assert plural_categories("pl") == FORMS.keys()
    assert polish.translate("models", count=count) == told
    assert polish.translate("models", count=str(count)) == told


def test_a_form_that_a_file_leaves_out_is_the_other(write: WriteLanguage) -> None:
    polish = read(write({"models": {"one": "{count} model", "other": "{count} modelu"}}))
    assert polish.translate("models", count=2) == "2 modelu"


def test_a_language_without_plurals_has_one_form() -> None:
    chinese = Catalogue("zh", "x", {"models": {"other": "{count} 个模型"}})
    assert [chinese.translate("models", count=n) for n in (1, 2)] == ["1 个模型", "2 个模型"]


def test_values_are_put_in_as_they_are(write: WriteLanguage) -> None:
    polish = read(write({"asked": "{asked} / {chosen} / {asked}"}))
    told = polish.translate("asked", asked="<b>{chosen}</b>", chosen=3, unused="x")
    assert told == "<b>{chosen}</b> / 3 / <b>{chosen}</b>"


def test_a_missing_text_is_told_in_english_and_named(write: WriteLanguage) -> None:
    polish = read(write({"chat.tab": "Czat"}), ENGLISH)
    assert polish.translate("chat.tab") == polish.text("chat.tab") == "Czat"
    assert polish.translate("arena.tab") == polish.text("arena.tab") == "Arena"
    every = {*ENGLISH.messages, *CHINESE.messages}
    assert polish.missing() == every - {"chat.tab"}
    assert "error.busy" in polish.missing()


def test_a_missing_text_has_the_plural_form_that_english_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = {"one": "{count} model", "other": "{count} models"}
    english = Catalogue("en", "English", {"models": models})
    monkeypatch.setattr("llava_serve.web.translations.catalogue.ENGLISH", english)
    chinese = Catalogue("zh", "x", {})
    assert [chinese.translate("models", count=n) for n in (1, 2)] == ["1 model", "2 models"]


def test_what_is_nowhere_is_a_key_error(write: WriteLanguage) -> None:
    polish = read(write({"asked": "{asked}", "models": FORMS}))
    for key, values in (("no.such", {}), ("asked", {"chosen": 1}), ("models", {"asked": 1})):
        with pytest.raises(KeyError):
            polish.translate(key, **values)
    with pytest.raises(KeyError):
        polish.text("no.such")


def test_the_two_that_ship_have_their_names() -> None:
    assert (ENGLISH.tag, ENGLISH.name) == ("en", "English")
    assert (CHINESE.tag, CHINESE.name) == ("zh", "中文")
    assert ENGLISH.missing() == frozenset()


@pytest.mark.parametrize("language", ["de", "zh-Hant-TW", "pt-BR", "sr-Latn-RS"])
def test_a_language_that_cldr_knows_is_read(write: WriteLanguage, language: str) -> None:
    assert read(write({}, language)).tag == language


@pytest.mark.parametrize("language", ["qq", "english", "DE", "de_AT", "de-12", "", "x", "../de"])
def test_another_language_is_refused(tmp_path: Path, language: str) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"language": language, "name": "x", "messages": {}}))
    with pytest.raises(CommandError, match=f"one.json is in no known language: {language!r}"):
        read(path)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "is wrong at messages: Input should be a valid dictionary"),
        ({"chat.tab": 3}, "is wrong at messages.chat.tab: Input should be a valid string"),
        ({"chat.tab": {"one": None}}, "is wrong at messages.chat.tab: Input should be a valid str"),
        ({"chat.tab": "<b>Czat"}, "has a character at chat.tab that no text may have: '<'"),
        ({"chat.tab": 'Cz"at'}, "has a character at chat.tab that no text may have: '\"'"),
        ({"chat.tab": "Cz\\at"}, r"has a character at chat.tab that no text may have: '\\'"),
        ({"chat.tab": "Cz\nat"}, r"has a character at chat.tab that no text may have: '\n'"),
        ({"a": {"few": "&", "other": "x"}}, "has a character at a that no text may have: '&'"),
        ({"chat.tab": "Cz`at"}, "has a character at chat.tab that no text may have: '`'"),
        ({"chat.tab": "${alert(1)}"}, "has a character at chat.tab that no text may have: '{'"),
        ({"chat.tab": "{{tab}}"}, "has a character at chat.tab that no text may have: '{'"),
        ({"chat.tab": "tab }"}, "has a character at chat.tab that no text may have: '}'"),
        ({"error.busy": "{count}"}, "has a place at error.busy that English has not: {count}"),
        ({"error.busy": {"other": "x"}}, "has plural forms at error.busy, where English has none"),
        ({"past.day": "y m. MMMM"}, "has at past.day no pattern of a date without its time"),
        ({"past.day": "dddd"}, "has at past.day no pattern of a date without its time"),
        ({"chat.tab": " "}, "has an empty text at chat.tab"),
        ({"chat.tab": "{tab}"}, "has a place at chat.tab that English has not: {tab}"),
        ({"chat.tab": {"other": "Czat"}}, "has plural forms at chat.tab, where English has none"),
        ({"a": {"few": "x"}}, "lacks the plural form at a for all other numbers: other"),
        (
            {"a": {"two": "x", "other": "y"}},
            "has a plural form at a that its language has not: two",
        ),
    ],
)
def test_a_file_that_could_not_be_shown_is_refused(
    write: WriteLanguage, messages: object, told: str
) -> None:
    path = write(messages)
    with pytest.raises(CommandError) as refused:
        read(path, ENGLISH)
    assert refused.value.message.startswith(f"the catalogue {path} {told}")
    assert refused.value.remedy == "Its form is that of llava_serve/web/translations/en.json."


def test_a_plural_form_may_say_the_number_where_english_does_not(write: WriteLanguage) -> None:
    english = Catalogue("en", "English", {"gone": {"one": "{who} is", "other": "{who} are"}})
    path = write({"gone": {"one": "{who}", "other": "{count}: {who}"}})
    assert read(path, english).translate("gone", count=2, who="a") == "2: a"
    with pytest.raises(CommandError, match=r"has a place at gone that English has not: \{what\}"):
        read(write({"gone": {"other": "{what}"}}), english)


def test_a_text_of_an_older_page_harms_nothing(write: WriteLanguage) -> None:
    assert "gone" not in read(write({"gone": "{what}"}), ENGLISH).missing()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is no JSON: Expecting property name"),
        (b'"\xff"', "is no JSON: 'utf-8' codec can't decode"),
        (b"[]", "is wrong at as a whole: Input should be a valid dictionary"),
        (b'{"language": "pl", "name": "x"}', "is wrong at messages: Field required"),
        (b'{"language": "pl", "name": "", "messages": {}}', "has an empty text at name"),
        (b'{"language": "pl", "name": "x", "messages": {}, "more": 1}', "is wrong at more: Extra"),
    ],
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=told):
        read(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none.json cannot be read: No such file"):
        read(tmp_path / "none.json")
    with pytest.raises(CommandError, match=r"cannot be read: Is a directory"):
        read(tmp_path)
