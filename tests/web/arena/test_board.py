"""The leaderboard says everything in its tables, and draws what they say."""

import re
from html.parser import HTMLParser

from llava_serve.arena.leaderboard import leaderboard
from llava_serve.arena.tally import Tally
from llava_serve.web.arena.board import board
from tests.web.wordless import wordless, words_left

TALLIES = [
    Tally("good", "bad", wins_a=60, wins_b=20, ties=5, both_bad=3),
    Tally("good", "best", wins_a=20, wins_b=50),
    Tally("x", "y", wins_a=1),
]


class Cells(HTMLParser):
    """Collects the texts of each table's cells, row by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._is_inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "table":
            self.tables.append([])
            self._is_inside = True
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.tables[-1][-1][-1] += data


def test_each_model_has_rank_rating_interval_and_votes() -> None:
    html = board(leaderboard(TALLIES))
    ratings, _ = Cells(html).tables
    assert ratings[0] == ["Rank", "Model", "Rating", "95 % interval", "Votes"]
    assert [row[1] for row in ratings[1:4]] == ["best", "good", "bad"]
    for row in ratings[1:4]:
        low, high = map(int, re.fullmatch(r"(-?\d+) to (-?\d+)", row[3]).groups())  # type: ignore[union-attr]
        assert low <= int(row[2]) <= high
    assert "159 votes; ties: 5, both bad: 3" in html


def test_a_model_without_a_rating_says_why() -> None:
    ratings, _ = Cells(board(leaderboard(TALLIES))).tables
    assert [(row[0], row[2], row[4]) for row in ratings[4:]] == [("", "", "1"), ("", "", "1")]
    assert all("no votes connect it" in row[1] for row in ratings[4:])


def test_a_one_sided_record_is_said() -> None:
    guessed = board(leaderboard([Tally("good", "bad", wins_a=1)]))
    assert "is a guess" in guessed
    assert "1 vote; ties: 0" in guessed
    assert [row[3] for row in Cells(guessed).tables[0][1:]] == ["", ""]  # no interval of certainty
    assert "is a guess" not in board(leaderboard(TALLIES))


def test_the_win_rates_are_those_of_the_votes() -> None:
    _, rates = Cells(board(leaderboard(TALLIES))).tables
    names = ["best", "good", "bad", "x", "y"]
    assert rates[0][1:] == [row[0] for row in rates[1:]] == names
    assert rates[1][1:] == ["", "7170", "", "", ""]  # 71 % of 70 votes
    assert rates[2][1:] == ["2970", "", "7388", "", ""]


def test_intervals_are_drawn_in_their_order_on_one_scale() -> None:
    html = board(leaderboard(TALLIES))
    drawn = re.findall(
        r'class="range" d="M([\d.]+) 5H([\d.]+)"/><path class="middle" d="M([\d.]+)', html
    )
    assert len(drawn) == 3
    assert all(0 < float(low) <= float(middle) <= float(high) < 100 for low, high, middle in drawn)
    middles = [float(middle) for _, _, middle in drawn]
    assert middles == sorted(middles, reverse=True)


def test_a_name_is_no_markup() -> None:
    html = board(leaderboard([Tally("<b>x", 'y"', wins_a=1, wins_b=1)]))
    assert "<b>" not in html and 'y"' not in html


def test_style_control_says_what_length_is_worth() -> None:
    tallies = [
        Tally("a", "b", 9, 3, length_difference=0.5),
        Tally("a", "b", 3, 9, length_difference=-0.5),
    ]
    assert "Answer length is taken out" in board(leaderboard(tallies, style_control=True))
    assert "Answer length" not in board(leaderboard(tallies))


def test_without_votes_the_way_to_them_is_said() -> None:
    assert "Vote on a battle in the Arena tab" in board(leaderboard([]))


def test_every_word_of_it_is_in_the_catalogue() -> None:
    with wordless():
        assert words_left(board(leaderboard(TALLIES, style_control=True))) == {
            "good",
            "bad",
            "best",
        }
        assert words_left(board(leaderboard([]))) == set()
