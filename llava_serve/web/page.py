"""The page: its tabs under one title, filled on load and kept up to date when there is news."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response

from llava_serve.logins.user import User, user_of
from llava_serve.storage.battles import Battles
from llava_serve.web import chat_endpoint, chat_panel, handlers, parameters
from llava_serve.web.arena import board_panel, panel as arena_panel
from llava_serve.web.arena.handlers import ArenaHandlers
from llava_serve.web.arena.rating_cache import RatingCache
from llava_serve.web.chat_panel import ChatPanel
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import Kind
from llava_serve.web.event_binder import (
    QUIET,
    EventBinder,
    address,
    caller,
    identity,
    session_name,
    told,
)
from llava_serve.web.examples import ExampleQuestion
from llava_serve.web.handlers import Handlers
from llava_serve.web.operators import panel as operator_panel
from llava_serve.web.presets import panel as preset_panel
from llava_serve.web.render import plain_text
from llava_serve.web.sessions import Place, Sessions
from llava_serve.web.transcript import TranscriptRequest, respond
from llava_serve.web.translations.language import translate
from llava_serve.web.translations.middleware import at_load

TITLE = "llava_serve"
_HEADER = f'<header class="page"><h1>llava_serve</h1><span>{at_load("page.about")}</span></header>'
# It stands at the top, and is the last that Tab comes to.
_LANGUAGES = f'<select class="language" aria-label="{at_load("page.language")}"></select>'
_HEADING = f'<h1 class="unseen">llava_serve: {at_load("page.about")}</h1>'
_FOOTER = f'<footer class="page">{at_load("page.footer")}</footer>'
_NEWS = "watchNews(() => trigger('tick'));"
_GRADIO_THREADS = 40


@dataclass(frozen=True)
class Built:
    """The page, the route by which its transcripts come, who may see which file, and who has what
    open."""

    blocks: gr.Blocks
    transcript: Callable[[TranscriptRequest, Request], Awaitable[Response]]
    may_see: Callable[[User, str], Awaitable[bool]]
    sessions: Sessions


def build(
    services: Services,
    examples: Sequence[ExampleQuestion],
    *,
    embed: bool,
) -> Built:
    """Lay the page out; with `embed` it has neither header nor footer."""
    sessions = Sessions(services.store, services.media)
    tabs = [handlers.CHAT_TAB, handlers.COMPARE_TAB]

    async def place(kind: Kind, request: gr.Request) -> Place:
        user = caller(request)
        browser = identity(request).browser
        session = await sessions.of(session_name(request), address(request), user, browser)
        return session.place(kind)

    def panel_of(tab: handlers.Tab) -> ChatPanel:
        with gr.Tab(at_load(f"{tab.kind}.tab"), elem_id=f"{tab.kind}-tab"):
            binder = EventBinder(partial(place, tab.kind))
            return chat_panel.build(Handlers(services, tab, examples), binder)

    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 24 * 3600),  # uploads live on in the media store
    ) as page:
        gr.HTML(_HEADING if embed else _HEADER, apply_default_css=False)
        if services.logins is not None and not embed:
            account = gr.HTML("", apply_default_css=False, elem_id="account")
            page.load(_account, None, account, **QUIET)
        panels = [panel_of(tab) for tab in tabs]
        with gr.Tab(at_load("arena.tab"), elem_id="arena-tab"):
            binder = EventBinder(partial(place, "arena"))
            panels.append(arena_panel.build(ArenaHandlers(services, examples), binder))
        with gr.Tab(at_load("leaderboard.tab"), elem_id="leaderboard-tab") as tab:
            board_panel.build(tab, RatingCache(Battles(services.store)), binder)
        if services.operators.exist:
            operator_panel.build(page, services.operators)
        if not embed:
            gr.HTML(_FOOTER, apply_default_css=False)
            menu = "window.languageMenu(element);"
            gr.HTML(html_template=_LANGUAGES, js_on_load=menu, apply_default_css=False)
        _fill(page, panels, place)
        presets = [(one.presets, one.parameters) for one in panels if one.presets is not None]
        preset_panel.bind(page, services.store, presets)
        chat_endpoint.build(services, sessions)
    page.queue(max_size=chat_endpoint.MOST_WAITING)
    page.max_threads = _GRADIO_THREADS
    draw = {panel.handlers.tab.kind: panel.handlers.draw for panel in panels}

    async def transcript(asked: TranscriptRequest, request: Request) -> Response:
        return await respond(asked, partial(sessions.find, user=user_of(request.scope)), draw)

    return Built(page, transcript, sessions.may_see, sessions)


async def _account(request: gr.Request) -> str:
    """Say who has signed in, beside the way out."""
    user = caller(request)
    name = plain_text(user.name if user else "")
    return (
        f'<form class="account" method="post" action="logout"><span>{name}</span>'
        '<button type="submit">' + translate("page.sign_out") + "</button></form>"
    )


def _fill(
    page: gr.Blocks,
    panels: Sequence[ChatPanel],
    place_of: Callable[[Kind, gr.Request], Awaitable[Place]],
) -> None:
    """Fill the panels on load, and keep their menus and signals up to date."""

    async def begin(request: gr.Request) -> list[Any]:
        """Show what the address names: conversations, or the model to begin one with."""
        menus: list[Any] = []
        rest: list[Any] = []
        with told():
            for panel in panels:
                place = await place_of(panel.handlers.tab.kind, request)
                place.menu_shown = None  # a page that has just loaded has none
                menus += panel.handlers.refresh(place).values()
                view = panel.handlers.view(place.conversation)
                rest += [view[name] for name in panel.controls]
                if panel.parameters:
                    rest += parameters.shown(place.conversation.asked)
        return [*menus, *rest]

    async def tick(request: gr.Request) -> list[Any]:
        menus: list[Any] = []
        signals: list[Any] = []
        with told():
            for panel in panels:
                place = await place_of(panel.handlers.tab.kind, request)
                menus += panel.handlers.refresh(place).values()
                signals.append(panel.handlers.signal(place.conversation))
        return [*menus, *signals]

    menus = [control for panel in panels for control in panel.menu.values()]
    signals = [panel.controls["signal"] for panel in panels]
    rest = [one for panel in panels for one in (*panel.controls.values(), *panel.parameters)]
    page.load(begin, None, [*menus, *rest], **QUIET)
    news = gr.HTML(js_on_load=_NEWS, apply_default_css=False, elem_classes="signal")
    ticked = news.tick(tick, None, [*menus, *signals], **QUIET)
    ticked.success(None, None, None, js="() => window.newsBrought()", api_visibility="private")
