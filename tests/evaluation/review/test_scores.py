"""Scores are two numbers from 0 to 10 on the first line, and nothing else is."""

import pytest

from llava_serve.evaluation.review.scores import Scores, ScoresFailure, read_scores


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        pytest.param("8 9", Scores(8, 9), id="alone"),
        pytest.param("8, 9\nBoth are right.", Scores(8, 9), id="a comma and a space"),
        pytest.param("8,9", Scores(8, 9), id="a comma"),
        pytest.param("0 9", Scores(0, 9), id="zero for an empty answer"),
        pytest.param("8.5 7\r\nThe first one.", Scores(8.5, 7), id="halves"),
        pytest.param("\n\n 10\t1 \n", Scores(10, 1), id="blank lines before"),
    ],
)
def test_two_numbers_of_the_first_line_are_scores(text: str, scores: Scores) -> None:
    assert read_scores(text) == scores


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        pytest.param("", "empty", id="nothing"),
        pytest.param(" \n ", "empty", id="blank"),
        pytest.param("Assistant 1: 8\nAssistant 2: 9", "no_scores", id="words"),
        pytest.param("8", "no_scores", id="one number"),
        pytest.param("8 9 7", "no_scores", id="three numbers"),
        pytest.param("8/10 9/10", "no_scores", id="fractions"),
        pytest.param("(8, 9)", "no_scores", id="a tuple"),
        pytest.param("-8 9", "no_scores", id="a sign"),
        pytest.param("nan inf", "no_scores", id="no numbers"),
        pytest.param("٨ ٩", "no_scores", id="other digits"),
        pytest.param("I cannot compare these.\n8 9", "no_scores", id="on the second line"),
        pytest.param("11 0", "out_of_range", id="eleven"),
        pytest.param("8 100", "out_of_range", id="another scale"),
        pytest.param("10.5 9", "out_of_range", id="above ten"),
    ],
)
def test_anything_else_fails_by_name(text: str, failure: ScoresFailure) -> None:
    assert read_scores(text) == failure


def test_a_line_that_is_cut_may_lack_a_digit() -> None:
    assert read_scores("8 1", is_cut=True) == "cut"
    assert read_scores("8 1\nThe first one is", is_cut=True) == Scores(8, 1)
