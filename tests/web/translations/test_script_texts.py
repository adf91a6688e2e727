"""The page's scripts find each text that they use, in each language."""

import json
import re
from pathlib import Path

import httpx
import pytest

import llava_serve.web
from llava_serve.http import serving
from llava_serve.web.app import build_app
from llava_serve.web.translations.catalogue import CHINESE, ENGLISH
from tests.web.conftest import MakeServices

FOLDER = Path(llava_serve.web.__file__).parent
SCRIPTS = sorted(FOLDER.rglob("*.js"))
CALL = re.compile(r"(?<!pen\.)\btranslate\(")  # what a pen moves is a drawing
LITERAL = re.compile(r"'([\w.]+)'[,)]")


def used(script: Path) -> set[str]:
    """Return the keys of the texts that a script uses."""
    text = script.read_text(encoding="utf-8")
    keys = [LITERAL.match(text, call.end()) for call in CALL.finditer(text)]
    assert None not in keys, f"{script.name} asks for a text by something else than its key"
    return {key[1] for key in keys if key is not None}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_each_text_of_a_script_is_in_each_catalogue(script: Path) -> None:
    for catalogue in (ENGLISH, CHINESE):
        assert used(script) - catalogue.messages.keys() == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_how_many_where_a_text_has_plural_forms(script: Path) -> None:
    """Without `count` a browser would take the form for all other numbers, and say nothing."""
    text = script.read_text(encoding="utf-8")
    for call in CALL.finditer(text):
        key = LITERAL.match(text, call.end())
        assert key is not None
        if not isinstance(ENGLISH.messages[key[1]], str):
            values = text[key.end() :].partition("}")[0]
            assert re.search(r"\bcounts?\b", values), f"{key[1]} in {script.name}"


async def test_the_page_brings_the_texts_of_its_scripts_in_its_language(
    make_services: MakeServices,
) -> None:
    page = build_app(make_services("http://127.0.0.1:9"))
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as client,
    ):
        answer = await client.get("/config", headers={"Accept-Language": "zh-CN"})
    _, _, rest = answer.json()["head"].partition("<script>scriptTexts = ")
    texts, _ = json.JSONDecoder().raw_decode(rest)
    for name in ("attach.js", "past.js", "page.js", "keyboard/keyboard.js", "images/crop.js"):
        for key in used(FOLDER / name):
            assert texts[key] == CHINESE.messages[key]
