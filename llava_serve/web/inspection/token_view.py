"""Tokens of an answer as HTML: each underlined by how sure the model was of it."""

import json
import math
from collections.abc import Sequence

from llava_serve.web.inspection.probabilities import MOST_TOKENS, ToldToken
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

_LEVELS = (
    *("inspect.level.under_20", "inspect.level.20_to_50"),
    *("inspect.level.50_to_90", "inspect.level.over_90"),
)
_LEAST = (0.2, 0.5, 0.9)  # probabilities at which the levels above the first begin


def token_view(given: str, tokens: Sequence[ToldToken]) -> str:
    """Render the tokens behind a text that was `given`; a script says more of the active one."""
    before = f'<span class="given">{plain_text(given)}</span>' if given else ""
    legend = "".join(
        f'<span><i class="level-{level}">ab</i> {translate(key)}</span>'
        for level, key in reversed([*enumerate(_LEVELS)])
    )
    more = ""
    if len(tokens) >= MOST_TOKENS:
        told = translate("inspect.only_the_first", tokens=f"{MOST_TOKENS:,}")
        more = f'<p class="note">{told}</p>'
    how, label = translate("inspect.how_sure"), translate("inspect.tokens_of_answer")
    return (
        f'<p class="how">{how} <span class="levels">{legend}</span></p>{before}'
        f'<div class="tokens" role="listbox" tabindex="0" aria-label="{label}">'
        f"{''.join(map(_token, tokens))}</div>{more}"
    )


def _token(token: ToldToken) -> str:
    probability = math.exp(token.logprob)
    level = sum(probability >= least for least in _LEAST)
    top = [(text, _percent(logprob)) for text, logprob in token.top]
    about = plain_text(json.dumps([token.text, _percent(token.logprob), top], ensure_ascii=False))
    shown = plain_text(token.text).replace("\n", '<b aria-hidden="true">\u21b5</b>\n')
    return f'<span role="option" class="level-{level}" data-about="{about}">{shown}</span>'


def _percent(logprob: float) -> float:
    return round(100 * math.exp(logprob), 1)
