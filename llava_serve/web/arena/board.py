"""Leaderboard as HTML: a table of ratings with their intervals as SVG, and a table of win rates."""

from collections.abc import Sequence

from llava_serve.arena.leaderboard import Leaderboard, Record, Standing
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

_HEAD = (
    *("leaderboard.rank", "leaderboard.model", "leaderboard.rating", "leaderboard.interval_95"),
    "leaderboard.votes",
)
_MOST_TINT = 55  # percent; beyond it the text would lose its contrast
_MARGIN = 0.04  # of the plot, on both sides


def board(one: Leaderboard) -> str:
    """Render a leaderboard."""
    if not one.standings:
        title, told = translate("leaderboard.no_votes"), translate("leaderboard.no_votes_told")
        return f'<div class="empty"><h2>{title}</h2><p>{told}</p></div>'
    said = [
        translate("leaderboard.counted", count=one.votes, ties=one.ties, both_bad=one.both_bad),
        translate("leaderboard.ratings_explained"),
    ]
    if one.length_points is not None:
        said.append(translate("leaderboard.length", points=f"{one.length_points:+.0f}"))
    return (
        f'<div class="board"><section><h2>{translate("leaderboard.ratings")}</h2>'
        f'<p class="hint">{" ".join(said)}</p>{_ratings(one.standings)}</section>'
        f"<section><h2>{translate('leaderboard.win_rates')}</h2>"
        f'<p class="hint">{translate("leaderboard.win_rates_explained")}</p>'
        f"{_win_rates(one)}</section></div>"
    )


def _scrolled(table: str, label: str) -> str:
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{table}</div>'


def _ratings(standings: Sequence[Standing]) -> str:
    head = "".join(f'<th scope="col">{translate(key)}</th>' for key in _HEAD)
    lows = [one.low for one in standings if one.low is not None]
    highs = [one.high for one in standings if one.high is not None]
    ends = (min(lows, default=0.0), max(highs, default=1.0))
    rows = "".join(_row(one, ends) for one in standings)
    table = f'<table class="ratings"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return _scrolled(table, translate("leaderboard.ratings"))


def _row(one: Standing, ends: tuple[float, float]) -> str:
    name = f'<th scope="row"><span title="{plain_text(one.model)}">{plain_text(one.model)}</span>'
    if one.rating is None or one.low is None or one.high is None:
        note = f"<small>{translate('leaderboard.unconnected')}</small>"
        return f"<tr><td></td>{name}{note}</th><td></td><td></td><td>{one.votes}</td></tr>"
    one_sided = f"<small>{translate('leaderboard.one_sided')}</small>"
    note = one_sided if one.is_one_sided else ""
    interval = ""  # of a guess there is none
    if not one.is_one_sided:
        told = translate("leaderboard.interval", low=f"{one.low:.0f}", high=f"{one.high:.0f}")
        interval = f"{_plot((one.low, one.rating, one.high), ends)}<small>{told}</small>"
    return (
        f"<tr><td>{one.rank}</td>{name}{note}</th><td>{one.rating:.0f}</td>"
        f'<td class="interval">{interval}</td><td>{one.votes}</td></tr>'
    )


def _plot(values: tuple[float, float, float], ends: tuple[float, float]) -> str:
    """Draw an interval with its middle; all rows have one scale, stretched to the cell's width."""
    width = max(ends[1] - ends[0], 1.0)
    inner = 100 * (1 - 2 * _MARGIN)
    low, middle, high = (100 * _MARGIN + inner * (one - ends[0]) / width for one in values)
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="range" d="M{low:.2f} 5H{high:.2f}"/>'
        f'<path class="middle" d="M{middle:.2f} 5h0"/></svg>'
    )


def _win_rates(one: Leaderboard) -> str:
    models = [standing.model for standing in one.standings]
    names = {
        model: f'<span title="{plain_text(model)}">{plain_text(model)}</span>' for model in models
    }
    head = "".join(f'<th scope="col">{name}</th>' for name in names.values())
    rows = []
    for model, name in names.items():
        cells = "".join(_cell(model, other, one.records.get((model, other))) for other in models)
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    table = (
        f'<table class="heat"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return _scrolled(table, translate("leaderboard.win_rates"))


def _cell(model: str, against: str, record: Record | None) -> str:
    if record is None:
        return "<td></td>"
    rate = 100 * record.win_rate
    tint = _MOST_TINT * abs(rate - 50) / 50
    kind = "won" if rate >= 50 else "lost"
    counted = {"rate": f"{rate:.0f}", "count": record.votes}
    told = translate("leaderboard.cell", model=model, against=against, **counted)
    return (
        f'<td class="{kind}" style="--tint:{tint:.0f}%" title="{plain_text(told)}">'
        f"{rate:.0f}<small>{record.votes}</small></td>"
    )
