"""Leaderboard panel: which votes are counted, and the tables of what they say."""

from typing import get_args

import gradio as gr

from llava_serve.arena.tally import TAGS
from llava_serve.errors import InvalidField
from llava_serve.storage.battles import Voters
from llava_serve.web.arena.board import board
from llava_serve.web.arena.panel import TASKS
from llava_serve.web.arena.rating_cache import RatingCache
from llava_serve.web.event_binder import EventBinder, View
from llava_serve.web.sessions import Place
from llava_serve.web.translations.middleware import at_load

_VOTERS: dict[Voters, str] = {
    "people": "leaderboard.voters.people",
    "judge": "leaderboard.voters.judge",
    "all": "leaderboard.voters.all",
}


def build(tab: gr.Tab, cache: RatingCache, binder: EventBinder) -> None:
    """Lay the tab out; the tables come when it is opened, and at each change of a control."""
    with gr.Row(elem_classes="board-controls"):
        task = gr.Dropdown(
            choices=[
                (at_load("leaderboard.all_tasks"), ""),
                *((at_load(key), tag) for tag, key in TASKS.items()),
            ],
            value="",
            label=at_load("arena.task"),
            elem_id="leaderboard-task",
        )
        voters = gr.Dropdown(
            choices=[(at_load(key), voters) for voters, key in _VOTERS.items()],
            value="people",
            label=at_load("leaderboard.voters"),
            elem_id="leaderboard-votes",
        )
        style = gr.Checkbox(label=at_load("leaderboard.style"), elem_id="leaderboard-style")
    shown = gr.HTML(apply_default_css=False, elem_id="leaderboard")

    async def show(_: Place, voters: Voters, tag: str | None, style_control: bool) -> View:
        if voters not in get_args(Voters) or (tag and tag not in TAGS):
            raise InvalidField("data", "names no votes or no task")
        found = await cache.board(voters, tag or None, style_control=style_control)
        return {"board": board(found)}

    for event in (tab.select, task.input, voters.input, style.input):
        binder.bind(event, show, [voters, task, style], {"board": shown})
