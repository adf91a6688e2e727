"""Ratings of the battles' models: from the votes in the database to a table or JSON."""

import json
from collections.abc import Iterator

from llava_serve.arena.leaderboard import Leaderboard, Standing, leaderboard
from llava_serve.storage.battles import Battles, Voters
from llava_serve.text_table import text_table

_UNCONNECTED = "no votes connect it with the others"
_ONE_SIDED = "won or lost everything: its distance to the others is a guess"


def rated(
    battles: Battles, voters: Voters, tag: str | None = None, *, style_control: bool = False
) -> Leaderboard:
    """Count the votes and rate the models. It blocks.

    Votes of a comparison are not counted: there the names were in sight.
    """
    tallies = battles.tallies(voters, tag, by_length=style_control)
    return leaderboard(tallies, style_control=style_control)


def as_json(board: Leaderboard, voters: Voters, tag: str | None) -> str:
    """Write a leaderboard as one JSON object."""
    asked = {"voters": voters, "tag": tag}
    return json.dumps({**asked, **board.as_json()}, ensure_ascii=False, indent=2) + "\n"


def as_text(board: Leaderboard) -> str:
    """Write a leaderboard as tables: ratings, and each model's rate of wins against each other."""
    if not board.standings:
        return "no votes yet\n"
    head = ("RANK", "MODEL", "RATING", "95 % INTERVAL", "VOTES", "NOTE")
    lines = [text_table([head, *map(_row, board.standings)])]
    lines.append(f"\nvotes: {board.votes}; ties: {board.ties}; both bad: {board.both_bad}\n")
    if board.length_points is not None:
        gain = f"{board.length_points:+.0f} points for an answer longer by a tenth of both"
        lines.append(f"taken out of the ratings: {gain}\n")
    lines.append("\nWins of each row against each column, in percent:\n")
    lines.append(text_table(_matrix(board)))
    return "".join(lines)


def _row(one: Standing) -> tuple[object, ...]:
    if one.rating is None or one.low is None or one.high is None:
        return ("", one.model, "", "", one.votes, _UNCONNECTED)
    interval = f"{one.low:.0f} to {one.high:.0f}"
    note = _ONE_SIDED if one.is_one_sided else " "
    return (one.rank, one.model, f"{one.rating:.0f}", interval, one.votes, note)


def _matrix(board: Leaderboard) -> Iterator[tuple[str, ...]]:
    models = [one.model for one in board.standings]
    yield ("", *(f"#{number}" for number, _ in enumerate(models, 1)))
    for number, model in enumerate(models, 1):
        met = (board.records.get((model, other)) for other in models)
        cells = (f"{100 * one.win_rate:.0f}" if one is not None else "" for one in met)
        yield (f"#{number} {model}", *cells)
