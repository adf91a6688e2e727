"""App of the web server: the page, the files it shows, and what lives as long as it."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from gradio.routes import App
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from llava_serve.http import serving
from llava_serve.http.access import Access, HostGuard, Hosts
from llava_serve.http.body import BodyLimits
from llava_serve.logins.guard import LoginGuard
from llava_serve.logins.login_texts import LoginTexts
from llava_serve.logins.routes import login_router
from llava_serve.logins.user import user_of
from llava_serve.storage import filetypes
from llava_serve.web import calls, page, theme, uploads
from llava_serve.web.attaching import Offer, Verdict, judge
from llava_serve.web.browser_headers import BrowserHeaders
from llava_serve.web.browser_identity import BrowserIdentity
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.folder_routes import folder_router
from llava_serve.web.compare.folder_runs import FolderRuns
from llava_serve.web.compare.routes import comparison_router
from llava_serve.web.conversation_routes import conversation_router
from llava_serve.web.examples import ExampleQuestion
from llava_serve.web.first_script import FirstScript
from llava_serve.web.gradio_files import GradioFiles
from llava_serve.web.image_url.routes import image_url_router
from llava_serve.web.inspection.routes import inspection_router
from llava_serve.web.news import news_router
from llava_serve.web.operators.operator_routes import operator_router
from llava_serve.web.past_conversations import PastConversations
from llava_serve.web.pdf.routes import pdf_router
from llava_serve.web.sharing import shared_routes
from llava_serve.web.sharing.shared_conversations import Sharing
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current, translate
from llava_serve.web.translations.middleware import LANGUAGES, SCRIPT_TEXTS, Translations

_HERE = Path(__file__).parent
_SCRIPTS = (
    *("translations/translate.js", "translations/gradio_words.js", "attach.js", "told.js"),
    *("conversation.js", "notice.js", "news.js", "inspection/inspection.js"),
    *("compare/differences.js", "compare/folder_upload.js", "compare/folder.js"),
    *("keyboard/keyboard.js", "images/crop.js", "images/camera.js", "copying.js", "pdf/pdf.js"),
)
_ON_LOAD = "page.js"
_STYLES = (
    *("page.css", "past.css", "inspection/inspection.css", "compare/compare.css"),
    *("compare/folder.css", "presets/presets.css", "keyboard/keyboard.css", "arena/arena.css"),
    *("images/images.css", "branches/branches.css", "markdown/markdown.css", "pdf/pdf.css"),
    "markdown/formula.css",
)
_LOGIN_TEXTS = LoginTexts(lambda: current.get().tag, translate, error_text)
_MINE_FOREVER = "private, max-age=31536000, immutable"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A name is a hash of the content, so the content never changes; and it is never a page.
_FOREVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@dataclass(frozen=True)
class Page:
    """The app, and what must happen before it can stop: browsers hold streams open for ever."""

    app: FastAPI
    before_stop: serving.BeforeStop


def build_app(
    services: Services,
    *,
    examples: tuple[ExampleQuestion, ...] = (),
    embed: bool = False,
    public_link: AbstractAsyncContextManager[None] | None = None,
    hosts: Hosts | None = None,
) -> Page:
    """Build the app; `public_link` is open while it runs; `hosts` are its names.

    Where users have to sign in, conversations and images belong to who did.
    """
    logins = services.logins

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, services.store.close)
            # Gradio's queue would go on to look for work a thousand times a second.
            stack.callback(blocks.close, verbose=False)
            await asyncio.to_thread(services.store.mark_interrupted)
            if services.moderation is not None:
                stack.push_async_callback(services.moderation.close)
            await stack.enter_async_context(services.link.opened())
            if services.remote_media is not None:
                await stack.enter_async_context(services.remote_media)
            if public_link is not None:
                await stack.enter_async_context(public_link)
            yield

    uploads.refuse_downloads()
    built = page.build(services, examples, embed=embed)
    blocks = built.blocks
    calls.in_our_words(blocks)
    app = FastAPI(title="llava_serve page", lifespan=lifespan, docs_url=None, redoc_url=None)
    scripts = [*map(_read, _scripts(services, embed=embed))]
    _add_middleware(app, blocks, services, scripts, hosts or Hosts())
    shown = [file for example in examples for file in example.files]
    _add_routes(app, services, built, frozenset(file.sha256 for file in shown))
    kept = frozenset(file.filename for file in shown)
    past = PastConversations(services, built.sessions, kept)
    links = Sharing(past, services) if services.allow_sharing else None
    app.include_router(conversation_router(past, links))
    if links is not None:
        app.include_router(shared_routes.shared_router(links))
    app.include_router(folder_router(FolderRuns(services, past.remove_unused)))
    app.include_router(comparison_router(built.sessions))
    app.include_router(news_router(built.sessions, services.link))
    app.include_router(pdf_router())
    app.include_router(inspection_router(services, built.sessions))
    if logins is not None:
        app.include_router(login_router(logins, _LOGIN_TEXTS))
    if services.operators.exist:
        app.include_router(operator_router(services.operators, services.link))
    mounted = _mount(app, blocks, services, scripts)

    async def before_stop() -> None:
        await services.running.stop_all()
        mounted.stop_event.set()

    return Page(app, before_stop)


def _add_middleware(
    app: FastAPI, blocks: gr.Blocks, services: Services, scripts: Sequence[str], hosts: Hosts
) -> None:
    """Add the middleware, from the innermost to the outermost."""
    app.add_middleware(FirstScript, script=_read("frames.js"))
    app.add_middleware(GradioFiles)
    app.add_middleware(uploads.UploadBound)
    app.add_middleware(calls.Calls, blocks=blocks)
    if services.logins is not None:
        open_below = (shared_routes.BELOW,) if services.allow_sharing else ()
        app.add_middleware(
            LoginGuard, sessions=services.logins, texts=_LOGIN_TEXTS, open_below=open_below
        )
    else:
        app.add_middleware(BrowserIdentity)
    # Around what refuses a request, so that a refusal is in its language.
    texts_of = (*scripts, _read(_ON_LOAD))
    app.add_middleware(Translations, languages=services.languages, scripts=texts_of)
    app.add_middleware(HostGuard, access=Access(hosts=hosts))
    serving.prepare(app, BodyLimits(services.max_body_bytes))
    app.add_middleware(BrowserHeaders)
    app.add_middleware(GZipMiddleware, compresslevel=6)  # it leaves event streams alone


def _scripts(services: Services, *, embed: bool) -> list[str]:
    return [
        *_SCRIPTS,
        *(["operators/operators.js"] if services.operators.exist else []),
        *([] if embed else ["past.js"]),
        *(["sharing/sharing.js"] if services.allow_sharing and not embed else []),
        *([] if services.remote_media is None else ["image_url/image_url.js"]),
        *([] if services.logins is None else ["signed_out.js"]),
    ]


def _add_routes(
    app: FastAPI, services: Services, built: page.Built, shown_to_all: frozenset[str]
) -> None:
    @app.get("/health")
    async def health() -> dict[str, object]:
        return {"status": "ok", "models": [card.id for card in services.link.cards]}

    @app.get("/media/{name}")
    async def media(name: str, request: Request) -> FileResponse:
        sha256, _, extension = name.partition(".")
        filetype = filetypes.BY_EXTENSION.get(extension)
        if filetype is None or not _SHA256.fullmatch(sha256):
            raise HTTPException(404)
        user = user_of(request.scope)
        if user and sha256 not in shown_to_all and not await built.may_see(user, sha256):
            raise HTTPException(404)  # the same as where there is none
        path = services.media.shown_path(name)
        if not await asyncio.to_thread(path.is_file):
            raise HTTPException(404)
        headers = _FOREVER | ({"Cache-Control": _MINE_FOREVER} if user else {})
        return FileResponse(path, media_type=filetype.shown_mime, headers=headers)

    @app.post("/attach")
    async def attach(offer: Offer) -> Verdict:
        return judge(offer, services.media, services.max_body_bytes)

    app.post("/transcript")(built.transcript)
    if services.remote_media is not None:
        app.include_router(image_url_router(services.remote_media))


def _mount(app: FastAPI, blocks: gr.Blocks, services: Services, scripts: Sequence[str]) -> App:
    """Serve the page below the routes that `app` has; return Gradio's app."""
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,  # a bug's own words can hold paths; `calls` says what may be said
        ssr_mode=False,
        max_file_size=services.max_body_bytes,
        allowed_paths=[str(services.media.root)],
        theme=theme.build(),
        # Not as `css`: Gradio prefixes the selectors of that, and media queries lose to the rest.
        head=f"<style>{_styles(services)}{theme.icon_style()}</style>"
        + f"<script>scriptTexts = {SCRIPT_TEXTS}; languages = {LANGUAGES};</script>"
        + "".join(f"<script>{script}</script>" for script in scripts),
        js=_read(_ON_LOAD),
    )
    # Only a launched page checks that a file a browser names is one it has uploaded.
    blocks.has_launched = True
    (mounted,) = (
        route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App)
    )
    return mounted


def _styles(services: Services) -> str:
    further = ["operators/operators.css"] if services.operators.exist else []
    return "".join(map(_read, (*_STYLES, *further)))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
