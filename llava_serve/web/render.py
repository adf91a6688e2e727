"""Turns, cards and facts as HTML; every text passes `markdown` on its way."""

import time
from collections.abc import Sequence
from functools import lru_cache

from llava_serve.errors import ServeError
from llava_serve.protocol.openai import ModelCard
from llava_serve.storage.media import StoredFile
from llava_serve.web import votes
from llava_serve.web.answer import Answer
from llava_serve.web.conversation import Exchange
from llava_serve.web.markdown import model_text, plain_text

LETTERS = "ABCD"
_STATES = {
    "stopped": "Stopped.",
    "failed": "Interrupted: the text above is what arrived.",
}

_LEFT_OUT = {
    "files": "This question and its files are left out of what follows.",
    "length": "This question is left out of what follows.",
    None: "",
}


# A finished answer is drawn again with each view of its conversation, and Markdown is slow.
_ended_text = lru_cache(maxsize=1000)(model_text)


def question(exchange: Exchange) -> str:
    media = "".join(_thumbnail(file) for file in exchange.files)
    media = f'<div class="media">{media}</div>' if media else ""
    text = f'<div class="said">{plain_text(exchange.text)}</div>' if exchange.text else ""
    return f'<article class="turn user">{media}{text}</article>'


def answer(one: Answer, letter: str = "", place: str = "0.0") -> str:
    """Render one answer: text, how it stands, what it cost; `letter` names it in a comparison.

    `place` is its EXCHANGE.SLOT, by which a vote on it finds it.
    """
    label = f"<b>{letter}</b>" if letter else ""
    whole = plain_text(one.model)
    name = f'<span class="model" title="{whole}">{label}{whole}</span>'
    parts = [f"<header>{name}{_copy(one)}{votes.buttons(one, place)}</header>"]
    if one.text:
        text = model_text(one.text) if one.is_open else _ended_text(one.text)
        parts.append(f'<div class="text">{text}</div>')
    if one.is_open and not one.text:
        parts.append(_waiting(one))
    if (note := _note(one)) is not None:
        parts.append(f'<p class="note">{note}</p>')
    if one.error is not None:
        parts.append(error_card(one.error, one.request_id, _LEFT_OUT[one.refused]))
    parts.append(f'<footer class="facts">{_facts(one)}</footer>')
    return f'<article class="turn assistant {one.state}">{"".join(parts)}</article>'


def exchange(one: Exchange, number: int = 0) -> str:
    """Render a question and its answers; `number` is its place in the conversation."""
    return question(one) + answers(one, number)


def answers(exchange: Exchange, number: int = 0) -> str:
    """Render what was answered, side by side where it is several, and what was voted."""
    vote = f'<p class="note vote">{plain_text(exchange.vote)}</p>' if exchange.vote else ""
    places = [f"{number}.{slot}" for slot in range(len(exchange.answers))]
    if len(exchange.answers) == 1:
        return answer(exchange.answers[0], place=places[0]) + vote
    columns = "".join(map(answer, exchange.answers, LETTERS, places))
    return f'<div class="columns of-{len(exchange.answers)}">{columns}</div>{vote}'


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
    else:
        count = "1 model is" if len(cards) == 1 else f"{len(cards)} models are"
        return f'<p class="status good">{count} served</p>'
    return f'<p class="status bad">{plain_text(text)}</p>'


def _listed(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def budget(card: ModelCard | None, last: Answer | None) -> str:
    """Show how much of the context the conversation has used."""
    if card is None:
        return ""
    if last is None or last.prompt_tokens is None:
        return f'<p class="budget">Context: {card.context_length:,} tokens</p>'
    used = last.prompt_tokens + (last.completion_tokens or 0)
    share = min(100.0, 100 * used / card.context_length)
    return (
        f'<p class="budget"><span class="bar"><i style="width:{share:.1f}%"></i></span>'
        f"Context: {used:,} of {card.context_length:,} tokens used</p>"
    )


def _thumbnail(file: StoredFile) -> str:
    source, name = f"media/{file.filename}", plain_text(file.name)
    if file.filetype.needs_player:
        return f'<video src="{source}" title="{name}" controls muted preload="metadata"></video>'
    link = f'href="{source}" target="_blank" rel="noopener" title="{name}"'
    return f'<a {link}><img src="{source}" alt="{name}" loading="lazy"></a>'


def _waiting(one: Answer) -> str:
    waited_s = int(time.monotonic() - one.began) if one.state == "running" else 0
    text = f"no token yet, {waited_s} s" if waited_s >= 2 else "waiting"
    return f'<p class="waiting"><i></i><i></i><i></i><span>{text}</span></p>'


def _note(one: Answer) -> str | None:
    if one.state == "done" and one.finish_reason == "length":
        return "Cut at the token limit: raise Max tokens, or continue."
    if one.state == "done" and not one.text:
        return "The model answered with nothing."
    if one.state == "failed" and not one.text:
        return None
    return _STATES.get(one.state)


def _facts(one: Answer) -> str:
    facts = []
    if one.time_to_first_token_s is not None:
        facts.append(f"first token {one.time_to_first_token_s:.2f} s")
    if one.tokens_per_s is not None:
        facts.append(f"{one.tokens_per_s:.1f} tokens/s")
    if one.prompt_tokens is not None:
        facts.append(f"{one.prompt_tokens:,} tokens in")
    if one.completion_tokens is not None:
        facts.append(f"{one.completion_tokens:,} out")
    return " · ".join(facts)


def _copy(one: Answer) -> str:
    if one.is_open or not one.text:
        return ""
    return '<button type="button" class="copy" title="Copy the answer">Copy</button>'


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
