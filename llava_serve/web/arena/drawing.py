"""Drawing of a battle as HTML: without names, and after the vote with them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from llava_serve.arena.tally import Winner
from llava_serve.errors import BattleAnswerFailed
from llava_serve.web import render
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.examples import ExampleQuestion, invitation
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from llava_serve.web.transcript import Transcript, drawn
from llava_serve.web.translations.language import translate

SIDES = "AB"
_OUTCOMES: dict[Winner, str] = {
    "a": "arena.outcome.a",
    "b": "arena.outcome.b",
    "tie": "arena.outcome.tie",
    "both_bad": "arena.outcome.both_bad",
}


def hidden(one: StreamedReply) -> StreamedReply:
    """Return a reply with all left out that could tell which model gave it.

    Token counts could: each model has a tokenizer of its own, and makes a number of its own of a
    image.
    """
    return replace(
        one,
        model="",
        error=None if one.error is None else BattleAnswerFailed(),
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
        first_delta=None,
        tokens_per_s=None,
    )


def exchange(one: Exchange, parameters: Parameters, *, is_blind: bool) -> str:
    """Render a question and both answers; where it is blind their models have no names."""
    answers = [hidden(reply) if is_blind else reply for reply in one.replies]
    columns = "".join(
        render.reply(reply, letter, place="") for reply, letter in zip(answers, SIDES, strict=False)
    )
    cut = any(reply.finish_reason == "length" for reply in one.replies)
    note = ""
    if cut and is_blind:
        note = f'<p class="note">{translate("arena.cut", count=parameters.max_tokens)}</p>'
    return f'{render.question(one)}<div class="columns of-2">{columns}</div>{note}'


def is_whole(exchanges: Sequence[Exchange]) -> bool:
    """Tell whether every answer has come to its end, with text."""
    replies = [reply for one in exchanges for reply in one.replies]
    return all(reply.state == "done" and reply.text for reply in replies)


def transcript(
    conversation: ChatState, before: Transcript | None, examples: Sequence[ExampleQuestion] = ()
) -> Transcript:
    """Draw a battle that stands still; given what was drawn before, only what is open of it."""
    draw = partial(_exchange, conversation)
    invited = "" if conversation.exchanges else invitation("arena", examples)
    return drawn(conversation.exchanges, conversation.notice, before, draw, invited)


def _exchange(conversation: ChatState, one: Exchange, number: int) -> str:
    html = exchange(one, conversation.parameters, is_blind=conversation.is_blind)
    is_last = number == len(conversation.exchanges) - 1
    return html + _ending(conversation) if is_last and not one.is_open else html


def _ending(conversation: ChatState) -> str:
    """Render what stands below the last answers: what both were asked with, and how it ended.

    Nothing is said of an end while a vote is waited for.
    """
    asked = translate("arena.asked", **asdict(conversation.parameters))
    asked = f'<p class="asked">{asked}</p>'
    battle = conversation.battle
    if battle is not None and battle.winner is not None:
        a, b = (f"<b>{render.plain_text(name)}</b>" for name in battle.models)
        return _outcome(translate(_OUTCOMES[battle.winner], a=a, b=b)) + asked
    if not is_whole(conversation.exchanges):
        return _outcome(translate("arena.without_vote")) + asked
    return asked


def _outcome(told: str) -> str:
    return f'<p class="note outcome" role="status">{told}</p>'
