"""Which language a request has: that of its cookie, else the first that its browser accepts."""

import asyncio

import pytest
from starlette.types import Scope

from llava_serve.errors import CommandError
from llava_serve.web.translations.catalogue import CHINESE, ENGLISH, Catalogue
from llava_serve.web.translations.language import Languages, current, translate
from tests.web.translations.conftest import WriteLanguage

TAIWAN = Catalogue("zh-TW", "繁體中文", {})
POLISH = Catalogue("pl", "Polski", {"chat.tab": "Czat"})


def request(accepted: str | None = None, cookie: str | None = None) -> Scope:
    headers = []
    if accepted is not None:
        headers.append((b"accept-language", accepted.encode()))
    if cookie is not None:
        headers.append((b"cookie", f"other=pl; language={cookie}".encode()))
    return {"type": "http", "headers": headers}


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, ENGLISH),
        ("", ENGLISH),
        ("zh", CHINESE),
        ("zh-TW", CHINESE),
        ("ZH-cn", CHINESE),
        ("zh-Hans-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("en-GB,en;q=0.9,zh;q=0.8", ENGLISH),
        ("en;q=0.5,zh;q=0.6", CHINESE),
        ("en;q=0.5, zh ; q=0.5", ENGLISH),
        ("ja,ko;q=0.9,zh;q=0.1", CHINESE),
        ("ja,zh;q=0", ENGLISH),
        ("zh;q=0.000,pl", POLISH),
        ("zh;q=much,pl;q=0.1", POLISH),
        ("zh;q=nan,pl;q=0.1", POLISH),
        ("*", ENGLISH),
        ("zhuang", ENGLISH),
        (",;,=;q", ENGLISH),
        (",".join(["ja"] * 20 + ["zh"]), ENGLISH),
    ],
)
def test_a_browser_gets_the_first_language_that_it_accepts(
    accepted: str | None, expected: Catalogue
) -> None:
    assert Languages((ENGLISH, CHINESE, POLISH)).chosen(request(accepted)) is expected


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [("zh", CHINESE), ("en", ENGLISH), ("pl", POLISH), ("", POLISH), ("ja", POLISH)],
)
def test_what_was_chosen_comes_before_what_the_browser_accepts(
    cookie: str, expected: Catalogue
) -> None:
    languages = Languages((ENGLISH, CHINESE, POLISH))
    assert languages.chosen(request("pl,zh;q=0.5", cookie)) is expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("zh", CHINESE), ("zh-CN", CHINESE), ("zh-TW", TAIWAN), ("zh-tw", TAIWAN)],
)
def test_a_tag_finds_its_own_language_before_one_with_the_same_beginning(
    tag: str, expected: Catalogue
) -> None:
    languages = Languages((ENGLISH, CHINESE, TAIWAN))
    assert languages.chosen(request(tag)) is expected
    assert languages.chosen(request("en", tag)) is expected


def test_a_file_adds_a_language_or_takes_the_place_of_one(write: WriteLanguage) -> None:
    assert [one.tag for one in Languages.of().catalogues] == ["en", "zh"]
    files = [write({"chat.tab": "Czat"}), write({"chat.tab": "Talk"}, "en", "Plain English")]
    languages = Languages.of(files)
    assert [one.name for one in languages.catalogues] == ["Plain English", "中文", "Polski"]
    polish = languages.chosen(request("pl"))
    assert (polish.translate("chat.tab"), polish.translate("arena.tab")) == ("Czat", "Arena")
    whoever = languages.chosen(request("ja"))
    assert (whoever.translate("chat.tab"), whoever.translate("arena.tab")) == ("Talk", "Arena")


def test_a_file_with_values_that_english_has_not_is_refused(write: WriteLanguage) -> None:
    with pytest.raises(CommandError, match=r"has a place at chat\.tab"):
        Languages.of([write({"chat.tab": "{what}"})])


async def test_a_text_is_in_the_language_of_its_request_and_of_the_tasks_it_starts() -> None:
    async def told() -> str:
        return translate("chat.tab")

    async def served(language: Catalogue) -> str:
        current.set(language)
        return await asyncio.create_task(told())

    served_at_once = [asyncio.create_task(served(one)) for one in (POLISH, CHINESE, ENGLISH)]
    assert await asyncio.gather(*served_at_once) == ["Czat", CHINESE.translate("chat.tab"), "Chat"]
    assert await told() == "Chat"
