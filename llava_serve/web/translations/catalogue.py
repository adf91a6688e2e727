"""Catalogue: the words of the page in one language, read from one JSON file."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from pydantic import BaseModel, ConfigDict, ValidationError

from llava_serve.errors import CommandError

Text = str | Mapping[str, str]
_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
# Without these a text is safe wherever it is put: in HTML, in an attribute, in JSON, and in the
# templates that Gradio makes of a layout, where braces and backticks mean something.
_UNSAFE = re.compile(r'[<>&"\\`\x00-\x1f]|\{(?!\w+\})|(?<!\w)\}')
_PLACE = re.compile(r"\{(\w+)\}")
_DATES = ("past.day", "past.day_of_year")


class _File(BaseModel):
    """A file: the language's BCP 47 tag, its name in itself, and its texts by key."""

    model_config = ConfigDict(strict=True, extra="forbid")

    language: str
    name: str
    messages: dict[str, str | dict[str, str]]


@dataclass(frozen=True)
class Catalogue:
    """The texts of one language; `tag` is its BCP 47 tag, `name` its name in itself.

    A text has the places of values in braces. Where it depends on a number it is several, by the
    plural category of the value `count`.
    Source: the categories are those of Unicode's CLDR, Language Plural Rules.
    """

    tag: str
    name: str
    messages: Mapping[str, Text]

    def translate(self, key: str, **values: object) -> str:
        """Return a text with its values, or English where this language has none.

        The values are put in as they are.

        Raises:
            KeyError: English has no such key either, or a value is missing.
        """
        if key not in self.messages and self is not ENGLISH:
            return ENGLISH.translate(key, **values)
        text = self.messages[key]
        if not isinstance(text, str):
            category = _locale(self.tag).plural_form(int(str(values["count"])))
            text = text.get(category, text["other"])
        return _PLACE.sub(lambda place: str(values[place[1]]), text)

    def text(self, key: str) -> Text:
        """Return a text as it is in the file, or English where this language has none."""
        return self.messages[key] if key in self.messages else ENGLISH.messages[key]

    def missing(self) -> frozenset[str]:
        """Return the keys for which English stands in.

        English has the texts of errors in their classes.
        """
        errors = {} if self.tag == ENGLISH.tag else CHINESE.messages
        return frozenset({*ENGLISH.messages, *errors} - self.messages.keys())


@cache
def _locale(tag: str) -> Locale:
    return Locale.parse(tag, sep="-")


def plural_categories(tag: str) -> frozenset[str]:
    """Return the plural categories that whole numbers or fractions have in a language."""
    return frozenset(_locale(tag).plural_form.tags | {"other"})


def places(text: Text) -> frozenset[str]:
    """Return the names of the values that a text, or any form of it, has a place for."""
    forms = [text] if isinstance(text, str) else text.values()
    return frozenset(name for form in forms for name in _PLACE.findall(form))


def read(path: Path, english: Catalogue | None = None) -> Catalogue:
    """Read a catalogue; the texts of another language than English must be able to stand for it.

    Raises:
        CommandError: it cannot be read, is no catalogue, names a language that CLDR has not, or has
            a text for which the page has no value, or that means something in HTML.
    """
    remedy = "Its form is that of llava_serve/web/translations/en.json."
    try:
        file = _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
        _check(file, {} if english is None else english.messages)
    except OSError as exc:
        raise CommandError(f"the catalogue {path} cannot be read: {exc.strerror}", remedy) from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise CommandError(f"the catalogue {path} is no JSON: {exc}", remedy) from exc
    except ValidationError as exc:
        raise CommandError(f"the catalogue {path} {_fault(exc.errors()[0])}", remedy) from exc
    except ValueError as exc:
        raise CommandError(f"the catalogue {path} {exc}", remedy) from exc
    return Catalogue(file.language, file.name, file.messages)


def _fault(error: Any) -> str:
    where = ".".join(map(str, error["loc"][:2])) or "as a whole"
    return f"is wrong at {where}: {error['msg']}"


def _check(file: _File, english: Mapping[str, Text]) -> None:
    """Check the language and each text.

    Raises:
        ValueError: what is wrong with the file, as the end of a sentence about it.
    """
    try:
        if not _TAG.fullmatch(file.language):
            raise UnknownLocaleError(file.language)
        categories = plural_categories(file.language)
    except (ValueError, UnknownLocaleError) as exc:
        raise ValueError(f"is in no known language: {file.language!r}") from exc
    for key, text in {"name": file.name, **file.messages}.items():
        _check_forms(key, text, categories)
        if key in english or key.startswith("error."):
            _check_values(key, text, english.get(key, ""))
        if key in _DATES:
            _check_date(key, text, file.language)


def _check_forms(key: str, text: Text, categories: frozenset[str]) -> None:
    """Check the plural forms of a text, and their characters. Raises: ValueError, as above."""
    forms = {"other": text} if isinstance(text, str) else text
    if wrong := sorted(forms.keys() - categories):
        raise ValueError(f"has a plural form at {key} that its language has not: {wrong[0]}")
    if "other" not in forms:
        raise ValueError(f"lacks the plural form at {key} for all other numbers: other")
    for form in forms.values():
        if not form.strip():
            raise ValueError(f"has an empty text at {key}")
        if found := _UNSAFE.search(form):
            raise ValueError(f"has a character at {key} that no text may have: {found[0]!r}")


def _check_values(key: str, text: Text, english: Text) -> None:
    """Check that the page has the values of a text: those of English, and what it counts.

    Raises:
        ValueError: as above.
    """
    if isinstance(english, str) and not isinstance(text, str):
        raise ValueError(f"has plural forms at {key}, where English has none")
    counted = set() if isinstance(english, str) else {"count"}
    if wrong := sorted(places(text) - places(english) - counted):
        raise ValueError(f"has a place at {key} that English has not: {{{wrong[0]}}}")


def _check_date(key: str, text: Text, tag: str) -> None:
    """Check that a text is a pattern of dates. Raises: ValueError, as above.

    Source: Unicode Technical Standard 35, part 4, Date Format Patterns.
    """
    try:
        format_date(date(2026, 1, 2), str(text), _locale(tag))
    except (AttributeError, KeyError, ValueError) as exc:
        raise ValueError(f"has at {key} no pattern of a date without its time: {text}") from exc


ENGLISH = read(Path(__file__).with_name("en.json"))
CHINESE = read(Path(__file__).with_name("zh.json"), ENGLISH)
