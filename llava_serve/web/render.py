"""Rendering as HTML: exchanges, votes, cards and facts; model text is Markdown without raw HTML."""

import html
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached

from llava_serve.errors import ServeError
from llava_serve.protocol.model_card import ModelCard
from llava_serve.storage.media import StoredFile
from llava_serve.web.branches.controls import arrows, pencil
from llava_serve.web.chat_state import Exchange
from llava_serve.web.inspection.buttons import buttons
from llava_serve.web.markdown.model_text import model_text as model_text
from llava_serve.web.markdown.streamed_text import streamed_text
from llava_serve.web.reply import StreamedReply, Vote
from llava_serve.web.theme import icon


def plain_text(text: str) -> str:
    """Render what a user typed, or any other text: nothing in it means anything."""
    return html.escape(text)


VOTES: dict[Vote, str] = {"up": "Good answer", "down": "Bad answer", "flag": "Report the answer"}


def votes(reply: StreamedReply, place: str) -> str:
    """Render the votes on an answer; `place` is EXCHANGE.SLOT, both counted from 0.

    Without a place there are none.
    A click on one is the event `vote` of the transcript, which names the place and the kind; on
    the vote that was given it takes that back.
    """
    if reply.is_open or not reply.text or not place:
        return ""
    shown = "".join(_vote(kind, label, reply, place) for kind, label in VOTES.items())
    return f'<span class="votes" role="group" aria-label="Judge this answer">{shown}</span>'


def _vote(kind: Vote, label: str, reply: StreamedReply, place: str) -> str:
    pressed = "true" if reply.vote == kind else "false"
    return (
        f'<button type="button" class="vote" data-vote="{kind}" '
        f'data-answer="{plain_text(place)}" aria-pressed="{pressed}" aria-label="{label}" '
        f'title="{label}">{icon(kind)}</button>'
    )


LETTERS = "ABCDEF"  # of the answers side by side
_STATES = {
    "stopped": "Stopped.",
    "failed": "Interrupted: the text above is what arrived.",
}

_LEFT_OUT = {
    "files": "This question and its files are left out of what follows.",
    "length": "This question is left out of what follows.",
    None: "",
}


_KEPT_CHARACTERS = 20_000_000  # of HTML
# A finished answer is drawn again with each view of its conversation, and Markdown is slow.
ended_text = cached(LRUCache[Any, str](_KEPT_CHARACTERS, getsizeof=len), lock=Lock())(model_text)


def question(exchange: Exchange, number: int | None = None) -> str:
    """Render a question with its files; with `number`, its place, what can be done with it."""
    media = "".join(_thumbnail(file) for file in exchange.files)
    media = f'<div class="media">{media}</div>' if media else ""
    text = f'<div class="said">{plain_text(exchange.text)}</div>' if exchange.text else ""
    tools = ""
    if number is not None and not exchange.is_open:
        tools = arrows(exchange, number, "question") + pencil(number)
    tools = f'<div class="tools">{tools}</div>' if tools else ""
    return f'<article class="turn user">{media}{text}{tools}</article>'


def reply(
    one: StreamedReply, letter: str = "", place: str = "0.0", facts: str | None = None
) -> str:
    """Render one answer: text, how it stands, what it cost; `letter` names it in a comparison.

    `place` is its EXCHANGE.SLOT, by which a vote on it finds it; `facts` stand in for its own.
    """
    label = f"<b>{letter}</b>" if letter else ""
    whole = plain_text(one.model)
    name = f'<span class="model" title="{whole}">{label}{whole}</span>'
    parts = [f"<header>{name}{_copy(one)}{buttons(one, place)}{votes(one, place)}</header>"]
    if one.text:
        live = streamed_text(one.request_id)
        text = live.render(one.text) if one.is_open else ended_text(one.text)
        parts.append(f'<div class="text">{text}</div>')
    if one.is_open and not one.text:
        parts.append(_waiting(one))
    if (note := note_of(one)) is not None:
        parts.append(f'<p class="note">{note}</p>')
    if one.error is not None:
        parts.append(error_card(one.error, one.request_id, _LEFT_OUT[one.refused]))
    parts.append(f'<footer class="facts">{facts_of(one) if facts is None else facts}</footer>')
    return f'<article class="turn assistant {one.state}">{"".join(parts)}</article>'


Beneath = Callable[[Exchange], tuple[list[str], str]]
"""Renders what stands beneath each of several answers, and what beneath them all."""


def exchange(one: Exchange, number: int = 0, beneath: Beneath | None = None) -> str:
    """Render a question and its answers; `number` is its place in the conversation."""
    return question(one, number) + replies(one, number, beneath)


def replies(exchange: Exchange, number: int = 0, beneath: Beneath | None = None) -> str:
    """Render what was answered, side by side where it is several, and what was voted."""
    vote = f'<p class="note vote">{plain_text(exchange.vote)}</p>' if exchange.vote else ""
    vote += "" if exchange.is_open else _other_answers(exchange, number)
    places = [f"{number}.{slot}" for slot in range(len(exchange.replies))]
    if len(exchange.replies) == 1:
        return reply(exchange.replies[0], place=places[0]) + vote
    facts, below = ([None] * len(places), "") if beneath is None else beneath(exchange)
    columns = "".join(map(reply, exchange.replies, LETTERS, places, facts))
    return f'<div class="columns of-{len(exchange.replies)}">{columns}</div>{below}{vote}'


def _other_answers(exchange: Exchange, number: int) -> str:
    others = arrows(exchange, number, "answer")
    return f'<div class="tools of-answer">{others}</div>' if others else ""


def error_card(error: ServeError, request_id: str | None = None, follows: str = "") -> str:
    """Render what happened, what a user can do, and what an operator finds in the logs.

    `follows` says what the error means for the rest of the conversation.
    """
    todo = f"{error.user_remedy} {follows}".rstrip()
    where = f" · request <code>{plain_text(request_id)}</code>" if request_id else ""
    return (
        '<div class="card error" role="alert">'
        f"<strong>{plain_text(_sentence(error.user_message))}</strong>"
        f"<p>{plain_text(todo)}</p>"
        f"<small>code <code>{plain_text(error.code)}</code>{where}</small></div>"
    )


def models_status(
    cards: Sequence[ModelCard],
    error: ServeError | None,
    missing: Sequence[str] = (),
    instead: Sequence[str] = (),
) -> str:
    """Say what is served; `missing` was chosen and is not there, `instead` stands in for it."""
    if error is not None:
        text = f"{_sentence(error.for_user)} The list fills in by itself."
    elif not cards:
        text = "No model is served yet. The list fills in by itself."
    elif missing:
        gone = f"{_listed(missing)} not served at the moment"
        text = f"{gone}; chosen as soon as it is."
        if instead:
            verb = "answers" if len(instead) == 1 else "answer"
            text = f"{gone}; {' and '.join(instead)} {verb} instead."
    elif blind := [card.id for card in cards if card.sees is False]:
        text = f"{_listed(blind)} served for text alone: pictures are not seen at the moment."
    else:
        count = "1 model is" if len(cards) == 1 else f"{len(cards)} models are"
        return f'<p class="status good">{count} served</p>'
    return f'<p class="status bad">{plain_text(text)}</p>'


def _listed(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def budget(card: ModelCard | None, last: StreamedReply | None) -> str:
    """Show how much of the context the conversation has used."""
    if card is None:
        return ""
    if last is None or last.prompt_tokens is None:
        return f'<p class="budget">Context: {card.context_length:,} tokens</p>'
    used = last.prompt_tokens + (last.completion_tokens or 0)
    used_percent = min(100.0, 100 * used / card.context_length)
    return (
        f'<p class="budget"><span class="bar"><i style="width:{used_percent:.1f}%"></i></span>'
        f"Context: {used:,} of {card.context_length:,} tokens used</p>"
    )


def _thumbnail(file: StoredFile) -> str:
    source, name = f"media/{file.filename}", plain_text(file.name)
    if file.filetype.needs_player:
        return f'<video src="{source}" title="{name}" controls muted preload="metadata"></video>'
    link = f'href="{source}" target="_blank" rel="noopener" title="{name}"'
    return f'<a {link}><img src="{source}" alt="{name}" loading="lazy"></a>'


def _waiting(one: StreamedReply) -> str:
    waited_s = int(time.monotonic() - one.began) if one.state == "running" else 0
    text = f"no token yet, {waited_s} s" if waited_s >= 2 else "waiting"
    if one.place is not None:
        text = f"waiting in line: {one.place.for_user}"
    return f'<p class="waiting"><i></i><i></i><i></i><span>{text}</span></p>'


def note_of(one: StreamedReply) -> str | None:
    """Say how an answer ended, where that is not what was to be expected."""
    if one.state == "done" and one.finish_reason == "length":
        return "Cut at the token limit: raise Max tokens, or continue."
    if one.state == "done" and not one.text:
        return "The model answered with nothing."
    if one.state == "failed" and not one.text:
        return None
    return _STATES.get(one.state)


def facts_of(one: StreamedReply) -> str:
    """Say what an answer took and cost."""
    facts = (
        ("first token {:.2f} s", one.time_to_first_token_s),
        ("{:.1f} tokens/s", one.tokens_per_s),
        ("{:,} tokens in", one.prompt_tokens),
        ("{:,} out", one.completion_tokens),
    )
    return " · ".join(words.format(fact) for words, fact in facts if fact is not None)


def _copy(one: StreamedReply) -> str:
    if one.is_open or not one.text:
        return ""
    return '<button type="button" class="copy" title="Copy the answer">Copy</button>'


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
