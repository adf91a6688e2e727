"""App of the web server: the page, the files it shows, and what lives as long as it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from gradio.routes import App
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from llava_serve.http import serving
from llava_serve.http.access import Access, HostGuard, Hosts
from llava_serve.http.body import BodyLimits
from llava_serve.storage import filetypes
from llava_serve.web import calls, page, theme, uploads
from llava_serve.web.attaching import Attaching, Offer, Verdict
from llava_serve.web.browser_headers import Assets, ContentPolicy
from llava_serve.web.chat_service import Services
from llava_serve.web.examples import ExampleQuestion
from llava_serve.web.public_link import PublicLink

_HERE = Path(__file__).parent
_SCRIPTS = ("attach.js", "told.js", "conversation.js")
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
    link: PublicLink | None = None,
    hosts: Hosts | None = None,
) -> Page:
    """Build the app; `link` makes it public, and `hosts` are the names it is served under."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, services.store.close)
            await asyncio.to_thread(services.store.mark_interrupted)
            if services.moderation is not None:
                stack.push_async_callback(services.moderation.close)
            await stack.enter_async_context(services.link.opened())
            if link is not None:
                await stack.enter_async_context(link.opened())
            yield

    uploads.refuse_downloads()
    built = page.build(services, examples, embed=embed)
    blocks = built.blocks.queue()
    calls.in_our_words(blocks)
    app = FastAPI(title="llava_serve page", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(uploads.UploadBound)
    app.add_middleware(calls.Calls, blocks=blocks)
    app.add_middleware(HostGuard, access=Access(hosts=hosts or Hosts()))
    serving.prepare(app, BodyLimits(services.max_body_bytes))
    app.add_middleware(Assets)
    app.add_middleware(GZipMiddleware, compresslevel=6)  # it leaves event streams alone
    app.add_middleware(ContentPolicy)

    _add_routes(app, services, built)
    mounted = _mount(app, blocks, services)

    async def before_stop() -> None:
        await services.running.stop_all()
        mounted.stop_event.set()

    return Page(app, before_stop)


def _add_routes(app: FastAPI, services: Services, built: page.Built) -> None:
    @app.get("/health")
    async def health() -> dict[str, object]:
        return {"status": "ok", "models": [card.id for card in services.link.cards]}

    @app.get("/media/{name}")
    async def media(name: str) -> FileResponse:
        sha256, _, extension = name.partition(".")
        filetype = filetypes.BY_EXTENSION.get(extension)
        if filetype is None or not _SHA256.fullmatch(sha256):
            raise HTTPException(404)
        path = services.media.shown_path(name)
        if not await asyncio.to_thread(path.is_file):
            raise HTTPException(404)
        return FileResponse(path, media_type=filetype.shown_mime, headers=_FOREVER)

    @app.post("/attach")
    async def attach(offer: Offer) -> Verdict:
        return Attaching(services.media, services.max_body_bytes).judge(offer)

    app.post("/transcript")(built.transcript)


def _mount(app: FastAPI, blocks: gr.Blocks, services: Services) -> App:
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
        head=f"<style>{_read('page.css')}{theme.icon_style()}</style>"
        + "".join(f"<script>{_read(name)}</script>" for name in _SCRIPTS),
        js=_read("page.js"),
    )
    # Only a launched page checks that a file a browser names is one it has uploaded.
    blocks.has_launched = True
    (mounted,) = (
        route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App)
    )
    return mounted


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
