"""Catalogue: the words of the page in one language, read from one JSON file."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from babel import Locale, UnknownLocaleError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from llava_serve.errors import CommandError

# So that a text is safe wherever it is put: in HTML, in an attribute, and in JSON.
Text = Annotated[str, StringConstraints(min_length=1, pattern=r'^[^<>&"\\\x00-\x1f]*$')]
_PLACE = re.compile(r"\{(\w+)\}")


class _File(BaseModel):
    """A file: the language's BCP 47 tag, its name in itself, and its texts by key."""

    model_config = ConfigDict(strict=True, extra="forbid")

    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
    name: Text
    messages: dict[str, Text | dict[str, Text]]


@dataclass(frozen=True)
class Catalogue:
    """The texts of one language; `tag` is its BCP 47 tag, `name` its name in itself.

    A text has the places of values in braces. Where it depends on a number it is several, by the
    plural category of the value `count`.
    Source: the categories are those of Unicode's CLDR, Language Plural Rules.
    """

    tag: str
    name: str
    messages: Mapping[str, str | Mapping[str, str]]

    def translate(self, key: str, **values: object) -> str:
        """Return a text with its values; they are put in as they are.

        Raises:
            KeyError: neither this language nor English has the key, or a value is missing.
        """
        text = self.text(key)
        if not isinstance(text, str):
            category = _locale(self.tag).plural_form(int(str(values["count"])))
            text = text.get(category, text["other"])
        return _PLACE.sub(lambda place: str(values[place[1]]), text)

    def text(self, key: str) -> str | Mapping[str, str]:
        """Return a text as it is in the file, or English where this language has none."""
        return self.messages.get(key) or ENGLISH.messages[key]

    def missing(self) -> frozenset[str]:
        """Return the keys for which English stands in."""
        return frozenset(ENGLISH.messages.keys() - self.messages.keys())


def _locale(tag: str) -> Locale:
    return Locale.parse(tag, sep="-")


def read(path: Path) -> Catalogue:
    """Read a catalogue.

    Raises:
        CommandError: it cannot be read, is no catalogue, or names a language that CLDR has not.
    """
    remedy = "Its form is that of llava_serve/web/translations/en.json."
    try:
        file = _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
        _locale(file.language)
    except OSError as exc:
        raise CommandError(f"the catalogue {path} cannot be read: {exc.strerror}", remedy) from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise CommandError(f"the catalogue {path} is no JSON: {exc}", remedy) from exc
    except ValidationError as exc:
        raise CommandError(f"the catalogue {path} {_fault(exc.errors()[0])}", remedy) from exc
    except UnknownLocaleError as exc:
        raise CommandError(f"the catalogue {path} is of no known language: {exc}", remedy) from exc
    return Catalogue(file.language, file.name, file.messages)


def _fault(error: Any) -> str:
    where = ".".join(map(str, error["loc"])) or "as a whole"
    return f"is wrong at {where}: {error['msg']}"


ENGLISH = read(Path(__file__).with_name("en.json"))
CHINESE = read(Path(__file__).with_name("zh.json"))
