"""Middleware of the page's languages: each request has one, and the page is sent in it."""

import json
import re
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from llava_serve.web.held_answer import HeldAnswer
from llava_serve.web.translations.catalogue import ENGLISH, Catalogue
from llava_serve.web.translations.language import Languages, current

# The page is laid out once for all languages; both answers hold its layout.
_LAID_OUT = frozenset({"/", "/config"})
_KINDS = ("text/html", "application/json")
_MARK = re.compile(rb"%%([a-z0-9_.]+)%%")
_SCRIPT_KEY = re.compile(r"\btranslate\(\s*'([\w.]+)'")
SCRIPT_TEXTS = "%%script_texts%%"
"""Where the texts of the page's scripts are put in, as a JSON object."""
LANGUAGES = "%%languages%%"
"""Where the languages are put in, as a JSON object of names by tag."""


def at_load(key: str) -> str:
    """Return what stands in the layout for a text until a browser asks for the page.

    Raises:
        KeyError: there is no such text.
    """
    assert isinstance(ENGLISH.messages[key], str), key
    return f"%%{key}%%"


class Translations:
    """Sets the language of each request, and puts its texts into the layout of the page.

    `scripts` are the page's scripts; the texts they use are sent with them.
    """

    def __init__(self, app: ASGIApp, languages: Languages, scripts: Iterable[str]) -> None:
        self._app = app
        self._languages = languages
        self._script_keys = sorted({key for one in scripts for key in _SCRIPT_KEY.findall(one)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        language = self._languages.chosen(scope)
        current.set(language)
        if scope["path"] in _LAID_OUT:
            send = HeldAnswer(send, _KINDS, _Translation(language, self._special(language)))
        await self._app(scope, receive, send)

    def _special(self, language: Catalogue) -> Mapping[str, str]:
        texts = {key: language.text(key) for key in self._script_keys}
        names = {one.tag: one.name for one in self._languages.catalogues}
        return {
            SCRIPT_TEXTS.strip("%"): _as_json({**texts, "language": language.tag}),
            LANGUAGES.strip("%"): _as_json(names),
        }


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Translation:
    """Puts texts where an answer has marks.

    All marks are inside JSON strings, or where a text means itself: its characters allow it.
    """

    def __init__(self, language: Catalogue, special: Mapping[str, str]) -> None:
        self._language = language
        self._special = special

    def __call__(self, layout: bytes) -> bytes:
        body = _MARK.sub(self._text, layout)
        return body.replace(b'lang="en"', f'lang="{self._language.tag}"'.encode(), 1)

    def _text(self, mark: re.Match[bytes]) -> bytes:
        key = mark[1].decode("ascii")
        text = self._special.get(key)
        if text is None:
            text = self._language.translate(key)
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()
