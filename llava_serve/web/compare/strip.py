"""Strip beneath each answer of a comparison: times, tokens, cost, and what its model was asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llava_serve.web.chat_state import Exchange
from llava_serve.web.compare import same_input
from llava_serve.web.compare.prices import Prices
from llava_serve.web.render import LETTERS, plain_text
from llava_serve.web.reply import StreamedReply
from llava_serve.web.translations.language import translate

_UNKNOWN = "-"


@dataclass(frozen=True)
class _Row:
    """A measurement of answers: the lowest is best, or the highest where `sign` is -1."""

    label: str
    best: str
    sign: int
    value_of: Callable[[StreamedReply], float | None]
    shown: Callable[[StreamedReply], str]


def _rows(prices: Prices | None) -> list[_Row]:
    rows = [
        _Row(
            *(translate("compare.first_token"), translate("compare.soonest"), 1),
            lambda one: one.time_to_first_token_s,
            lambda one: f"{one.time_to_first_token_s:.2f} s",
        ),
        _Row(
            *(translate("compare.speed"), translate("compare.fastest"), -1),
            lambda one: one.tokens_per_s,
            lambda one: translate("compare.tokens_per_s", tokens=f"{one.tokens_per_s:.1f}"),
        ),
        _Row(
            *(translate("compare.used"), translate("compare.fewest"), 1),
            _tokens,
            lambda one: translate(
                "compare.tokens_used",
                count=one.prompt_tokens or 0,
                prompt=f"{one.prompt_tokens or 0:,}",
                answer=f"{one.completion_tokens or 0:,}",
            ),
        ),
    ]
    if prices is not None:
        cost = _cost_in(prices)
        names = translate("compare.cost"), translate("compare.cheapest")
        rows.append(_Row(*names, 1, cost, lambda one: prices.shown(cost(one) or 0.0)))
    return rows


def _tokens(one: StreamedReply) -> int | None:
    if one.prompt_tokens is None:
        return None
    return one.prompt_tokens + (one.completion_tokens or 0)


def _cost_in(prices: Prices) -> Callable[[StreamedReply], float | None]:
    def cost(one: StreamedReply) -> float | None:
        if one.prompt_tokens is None:
            return None
        return prices.cost(one.model, one.prompt_tokens, one.completion_tokens or 0)

    return cost


def beneath(exchange: Exchange, prices: Prices | None = None) -> tuple[list[str], str]:
    """Render what stands beneath each answer of a comparison, and what beneath them all."""
    replies = exchange.replies
    strips: list[list[str]] = [[] for _ in replies]
    for row in _rows(prices):
        values = [row.value_of(one) for one in replies]
        if all(value is None for value in values):
            continue
        best = _best(row, replies)
        for one, value, strip in zip(replies, values, strips, strict=True):
            said = _UNKNOWN if value is None else plain_text(row.shown(one))
            won = f' <b class="best">★ {row.best}</b>' if said in best else ""
            strip.append(f"<dt>{row.label}</dt><dd>{said}{won}</dd>")
    for one, strip in zip(replies, strips, strict=True):
        if one.fingerprint is not None:
            tip = translate("compare.input_tip")
            code = f'<code title="{tip}">{one.fingerprint.digest}</code>'
            strip.append(f"<dt>{translate('compare.input')}</dt><dd>{code}</dd>")
    footers = [f'<dl class="strip">{"".join(strip)}</dl>' if strip else "" for strip in strips]
    return footers, _mark(exchange) + _offer(exchange)


def _best(row: _Row, replies: Sequence[StreamedReply]) -> set[str]:
    """Return how the best value is written, of answers that are whole; nothing where all tie."""
    known = [(row.value_of(one), one) for one in replies if one.state == "done"]
    ranked = [
        (row.sign * value, plain_text(row.shown(one))) for value, one in known if value is not None
    ]
    if len({said for _, said in ranked}) < 2 or any(one.is_open for one in replies):
        return set()
    return {min(ranked)[1]}


def _mark(exchange: Exchange) -> str:
    """Say whether all were asked the same; nothing where it is not known of all."""
    known = [one.fingerprint for one in exchange.replies if one.fingerprint is not None]
    if len(known) < max(2, len(exchange.replies)):
        return ""
    kind, sign = ("same", "✓") if same_input.is_same(known) else ("differs", "≠")
    said = plain_text(same_input.mark(known, LETTERS[: len(known)]))
    return f'<p class="same-input {kind}"><span aria-hidden="true">{sign}</span> {said}</p>'


def _offer(exchange: Exchange) -> str:
    """Render the button that opens the differences between two answers."""
    texts = [one for one in exchange.replies if one.text and not one.is_open]
    if len(texts) < 2 or any(one.is_open for one in exchange.replies):
        return ""
    label = translate("compare.show_differences")
    return f'<button type="button" class="differences">{label}</button>'
