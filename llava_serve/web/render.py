"""Rendering as HTML: exchanges, votes, cards and facts; model text is Markdown without raw HTML."""

import html
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from cachetools import LRUCache, cached

from llava_serve.errors import ServeError
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.model_card import ModelCard
from llava_serve.storage.media import StoredFile
from llava_serve.web.branches.controls import arrows, pencil
from llava_serve.web.chat_state import Exchange
from llava_serve.web.inspection.buttons import buttons
from llava_serve.web.markdown.model_text import model_text as model_text
from llava_serve.web.markdown.streamed_text import streamed_text
from llava_serve.web.reply import StreamedReply, Vote
from llava_serve.web.theme import icon
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current, translate


def plain_text(text: str) -> str:
    """Render what a user typed, or any other text: nothing in it means anything."""
    return html.escape(text)


_VOTES: dict[Vote, str] = {"up": "answer.good", "down": "answer.bad", "flag": "answer.report"}


def votes(reply: StreamedReply, place: str) -> str:
    """Render the votes on an answer; `place` is EXCHANGE.SLOT, both counted from 0.

    Without a place there are none.
    A click on one is the event `vote` of the transcript, which names the place and the kind; on
    the vote that was given it takes that back.
    """
    if reply.is_open or not reply.text or not place:
        return ""
    shown = "".join(_vote(kind, translate(key), reply, place) for kind, key in _VOTES.items())
    return (
        f'<span class="votes" role="group" aria-label="{translate("answer.judge")}">{shown}</span>'
    )


def _vote(kind: Vote, label: str, reply: StreamedReply, place: str) -> str:
    pressed = "true" if reply.vote == kind else "false"
    return (
        f'<button type="button" class="vote" data-vote="{kind}" '
        f'data-answer="{plain_text(place)}" aria-pressed="{pressed}" aria-label="{label}" '
        f'title="{label}">{icon(kind)}</button>'
    )


LETTERS = "ABCDEF"  # of the answers side by side
_STATES = {"stopped": "answer.stopped", "failed": "answer.interrupted"}
_LEFT_OUT = {"files": "answer.left_out_with_files", "length": "answer.left_out"}


_KEPT_CHARACTERS = 20_000_000  # of HTML
# A finished answer is drawn again with each view of its conversation, and Markdown is slow.
ended_text = cached(
    LRUCache[Any, str](_KEPT_CHARACTERS, getsizeof=len),
    key=lambda text: (current.get().tag, text),
    lock=Lock(),
)(model_text)


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
        live = streamed_text(one.request_id, current.get().tag)
        text = live.render(one.text) if one.is_open else ended_text(one.text)
        parts.append(f'<div class="text">{text}</div>')
    if one.is_open and not one.text:
        parts.append(_waiting(one))
    if (note := note_of(one)) is not None:
        parts.append(f'<p class="note">{note}</p>')
    if one.error is not None:
        follows = "" if one.refused is None else translate(_LEFT_OUT[one.refused])
        parts.append(error_card(one.error, one.request_id, follows))
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
    text, code = error_text(error), f"<code>{plain_text(error.code)}</code>"
    if request_id:
        request = f"<code>{plain_text(request_id)}</code>"
        where = translate("page.error_of_request", code=code, request=request)
    else:
        where = translate("page.error_code", code=code)
    original = f'<br><span lang="en">{plain_text(text.original)}</span>' if text.original else ""
    return (
        '<div class="card error" role="alert">'
        f"<strong>{plain_text(text.told)}</strong>"
        f"<p>{plain_text(f'{text.remedy} {follows}'.rstrip())}</p>"
        f"<small>{where}{original}</small></div>"
    )


def notice_card(error: ServeError) -> str:
    """Render an error of no answer, with a button that closes it."""
    label = translate("page.close")
    return (
        f'<div class="notice" data-code="{plain_text(error.code)}">'
        f'<button type="button" class="close" aria-label="{label}">&times;</button>'
        f"{error_card(error)}</div>"
    )


def models_status(
    cards: Sequence[ModelCard],
    error: ServeError | None,
    missing: Sequence[str] = (),
    instead: Sequence[str] = (),
) -> str:
    """Say what is served; `missing` was chosen and is not there, `instead` stands in for it."""
    if error is not None:
        text = f"{error_text(error).whole} {translate('models.fill_in')}"
    elif not cards:
        text = f"{translate('models.none')} {translate('models.fill_in')}"
    elif missing:
        gone = _of_models("models.gone", missing)
        text = translate("models.chosen_again", gone=gone)
        if instead:
            text = _of_models("models.instead", instead, gone=gone)
    elif blind := [card.id for card in cards if card.sees is False]:
        text = _of_models("models.blind", blind)
    else:
        return f'<p class="status good">{translate("models.served", count=len(cards))}</p>'
    return f'<p class="status bad">{plain_text(text)}</p>'


def _of_models(key: str, names: Sequence[str], **values: str) -> str:
    return translate(key, count=len(names), names=translate("models.and").join(names), **values)


def budget(card: ModelCard | None, last: StreamedReply | None) -> str:
    """Show how much of the context the conversation has used."""
    if card is None:
        return ""
    if last is None or last.prompt_tokens is None:
        said = translate("chat.context", context=f"{card.context_length:,}")
        return f'<p class="budget">{said}</p>'
    used = last.prompt_tokens + (last.completion_tokens or 0)
    used_percent = min(100.0, 100 * used / card.context_length)
    said = translate("chat.context_used", used=f"{used:,}", context=f"{card.context_length:,}")
    return (
        f'<p class="budget"><span class="bar"><i style="width:{used_percent:.1f}%"></i></span>'
        f"{said}</p>"
    )


def _thumbnail(file: StoredFile) -> str:
    source, name = f"media/{file.filename}", plain_text(file.name)
    if file.filetype.needs_player:
        return f'<video src="{source}" title="{name}" controls muted preload="metadata"></video>'
    link = f'href="{source}" target="_blank" rel="noopener" title="{name}"'
    return f'<a {link}><img src="{source}" alt="{name}" loading="lazy"></a>'


def _waiting(one: StreamedReply) -> str:
    waited_s = int(time.monotonic() - one.began) if one.state == "running" else 0
    if one.place is not None:
        text = _in_line(one.place)
    elif waited_s >= 2:
        text = translate("answer.no_token", seconds=waited_s)
    else:
        text = translate("answer.waiting")
    return f'<p class="waiting"><i></i><i></i><i></i><span>{text}</span></p>'


def _in_line(place: LinePlace) -> str:
    before = place.number - 1
    text = translate("answer.in_line", count=before) if before else translate("answer.next")
    if place.wait_s is None:
        return text
    return translate("answer.in_line_for", text=text, seconds=place.wait_s)


def note_of(one: StreamedReply) -> str | None:
    """Say how an answer ended, where that is not what was to be expected."""
    if one.state == "done" and one.finish_reason == "length":
        return translate("answer.cut")
    if one.state == "done" and not one.text:
        return translate("answer.empty")
    if (one.state == "failed" and not one.text) or one.state not in _STATES:
        return None
    return translate(_STATES[one.state])


def facts_of(one: StreamedReply) -> str:
    """Say what an answer took and cost."""
    facts = (
        ("answer.first_token", ".2f", one.time_to_first_token_s),
        ("answer.speed", ".1f", one.tokens_per_s),
        ("answer.tokens_in", ",", one.prompt_tokens),
        ("answer.tokens_out", ",", one.completion_tokens),
    )
    known = (
        translate(key, number=f"{fact:{form}}", count=round(fact))
        for key, form, fact in facts
        if fact is not None
    )
    return " · ".join(known)


def _copy(one: StreamedReply) -> str:
    if one.is_open or not one.text:
        return ""
    title, text = translate("answer.copy_answer"), translate("answer.copy")
    return f'<button type="button" class="copy" title="{title}">{text}</button>'
