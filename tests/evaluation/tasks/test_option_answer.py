"""An option is read out of an answer exactly as VLMEvalKit's matching does."""

import pytest

from llava_serve.evaluation.tasks.option_answer import read_option
from tests.evaluation.tasks.answering import original


def test_every_constructed_answer_gives_the_option_that_the_original_reads() -> None:
    cases = original("option_answers")
    read = {}
    expected = {}
    for case, (place, answer, letter) in enumerate(cases["answers"]):
        read[case, answer] = read_option(answer, cases["options"][place])
        expected[case, answer] = "" if letter == "Z" else letter  # its letter for no option
    assert len(read) > 600
    assert read == expected


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(C).", "C"),
        ("The correct answer is **D**, since the dog barks.", "D"),
        ("A rabbit", "A"),  # a lone letter comes before an option's words
        ("it is a rabbit", "B"),
        ("a cat, and no dog", ""),
        ("", ""),
        ("I cannot tell.", ""),
    ],
)
def test_an_answer_gives_one_option_or_none(answer: str, letter: str) -> None:
    options = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}
    assert read_option(answer, options) == letter
