"""The layout is sent in the language of its request: as a whole, with its length, compressed."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from llava_serve.http import serving
from llava_serve.web.app import build_app
from llava_serve.web.translations.catalogue import CHINESE, ENGLISH, Catalogue, Text
from llava_serve.web.translations.language import Languages, translate
from llava_serve.web.translations.middleware import LANGUAGES, SCRIPT_TEXTS, Translations, at_load
from tests.web.conftest import MakeServices

FORMS = {"one": "{count} plik", "few": "{count} pliki", "many": "{count} plików", "other": "pliku"}
OWN: dict[str, Text] = {"one.said": "ąę", "some.files": FORMS, "not.used": "nigdzie"}
POLISH = Catalogue("pl", "Polski", {**OWN, "chat.tab": "Czat"})
SCRIPTS = [
    "f(translate('some.files', {count: 2}), translate(\n  'one.said'))",
    "translate('chat.tab')",
]
PAGE = (
    f'<html lang="en"><p>{at_load("chat.tab")}, {at_load("arena.tab")}</p> %%no_key 100%% '
    '<script>config = {"head": "'
    + f'<p lang=\\"en\\">x = {SCRIPT_TEXTS}; y = {LANGUAGES};'
    + '"}</script>'
)


async def page(request: Request) -> Response:
    return Response(PAGE, media_type="text/html")


async def config(request: Request) -> Response:
    async def slowly() -> AsyncIterator[bytes]:
        for byte in json.dumps({"label": at_load("chat.tab")}).encode():
            yield bytes([byte])

    return StreamingResponse(slowly(), media_type="application/json")


async def said(request: Request) -> Response:
    return JSONResponse([translate("chat.tab"), at_load("chat.tab")])


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    english = Catalogue("en", "English", {**ENGLISH.messages, **OWN})
    languages = Languages((english, POLISH))
    middleware = [
        Middleware(GZipMiddleware, minimum_size=1),
        Middleware(Translations, languages=languages, scripts=SCRIPTS),
    ]
    routes = [Route("/", page), Route("/config", config), Route("/said", said)]
    app = Starlette(routes=routes, middleware=middleware)
    transport = httpx.ASGITransport(app)
    headers = {"Accept-Encoding": "identity", "Accept-Language": "pl"}
    async with httpx.AsyncClient(transport=transport, base_url="http://p", headers=headers) as one:
        yield one


def embedded(text: str) -> tuple[object, object]:
    """Read what stands in the script of the page, which is inside JSON."""
    head = json.loads(text[text.index('{"head"') : text.index("</script>")])["head"]
    found = head[head.index("x = ") + 4 :].removesuffix(";").split("; y = ")
    return json.loads(found[0]), json.loads(found[1])


async def test_marks_of_the_page_are_texts_of_its_language(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    assert answer.text.startswith('<html lang="pl"><p>Czat, Arena</p> %%no_key 100%% ')
    assert '<p lang=\\"en\\">' in answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    english = await http.get("/", headers={"Accept-Language": "ja"})
    assert english.text.startswith('<html lang="en"><p>Chat, Arena</p>')


async def test_scripts_get_the_texts_that_they_use_and_the_names_of_all_languages(
    http: httpx.AsyncClient,
) -> None:
    texts, names = embedded((await http.get("/")).text)
    assert texts == {
        "language": "pl",
        "one.said": "ąę",
        "some.files": FORMS,
        "chat.tab": "Czat",
    }
    assert names == {"en": "English", "pl": "Polski"}


async def test_an_answer_that_comes_byte_by_byte_is_translated_as_a_whole(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.get("/config")
    assert answer.json() == {"label": "Czat"}
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("path", ["/", "/config"])
async def test_a_compressed_answer_is_the_same(http: httpx.AsyncClient, path: str) -> None:
    plain = await http.get(path)
    packed = await http.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text


async def test_another_answer_has_the_language_and_keeps_its_marks(
    http: httpx.AsyncClient,
) -> None:
    assert (await http.get("/said")).json() == ["Czat", "%%chat.tab%%"]


async def test_a_page_that_is_no_text_of_ours_passes() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        response = PlainTextResponse(at_load("chat.tab"))
        await response(scope, receive, send)  # type: ignore[arg-type]

    translated = Translations(app, Languages((POLISH,)), [])
    transport = httpx.ASGITransport(translated)
    async with httpx.AsyncClient(transport=transport, base_url="http://p") as client:
        assert (await client.get("/")).text == "%%chat.tab%%"


def test_a_mark_stands_for_a_text_that_there_is() -> None:
    assert at_load("chat.tab") == "%%chat.tab%%"
    with pytest.raises(KeyError):
        at_load("no.such")


async def test_the_real_page_is_sent_in_chinese(make_services: MakeServices) -> None:
    served = build_app(make_services("http://127.0.0.1:9"))
    headers = {"Accept-Language": "zh-CN", "Accept-Encoding": "identity"}
    async with (
        serving.served(served.app, served.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, headers=headers) as client,
    ):
        for path in ("/", "/config"):
            answer = await client.get(path)
            assert CHINESE.translate("chat.tab") in answer.text
            assert "%%" not in answer.text
            assert int(answer.headers["content-length"]) == len(answer.content)
        head, whole = await client.head("/"), await client.get("/")
        assert 'lang="zh"' in whole.text
        assert head.content == b""
        assert head.headers["content-length"] == whole.headers["content-length"]
        english = await client.get("/", headers={"Cookie": "language=en"})
        assert 'lang="en"' in english.text
        assert CHINESE.translate("chat.tab") not in english.text
