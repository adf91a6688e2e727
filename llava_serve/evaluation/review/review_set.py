"""Set of reviews to make: the comparisons of two models' answers, and what is missing in them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.comparison import AnswerComparison, comparisons_of
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.evaluation.review.inputs import (
    ReviewedAnswer,
    ReviewQuestion,
    model_name,
    read_answers,
    read_context,
    read_questions,
)
from llava_serve.evaluation.review.rules import DEFAULT, read_rules


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of the file; `comparison` is None where one of the answers is missing."""

    question: ReviewQuestion
    category: str
    comparison: AnswerComparison | None


@dataclass(frozen=True, slots=True)
class ReviewSet:
    """`models` are the reference, A, and B; `unasked` counts their answers to no question.

    `digests` are those of the files by what they are; `default_rule` names the categories that
    have no rule of their own.
    """

    asked: tuple[AskedQuestion, ...]
    models: tuple[str, str]
    unasked: tuple[int, int]
    default_rule: tuple[str, ...]
    digests: Mapping[str, str | None]

    @property
    def comparisons(self) -> list[AnswerComparison]:
        """The questions that both models answer, in the order of the file."""
        return [one.comparison for one in self.asked if one.comparison is not None]


def read_review_set(config: ReviewConfig) -> ReviewSet:
    """Read the files of the settings.

    Raises:
        CommandError: one cannot be read or does not fit the others; names file and line.
    """
    questions = read_questions(config.questions)
    contexts = None if config.context is None else read_context(config.context)
    _require_told(config, questions)
    rules, rules_content = read_rules(config.rules)
    path_a, path_b = map(Path, config.answers)
    sides = (read_answers(path_a), read_answers(path_b))
    for path, answers in zip((path_a, path_b), sides, strict=True):
        if not questions.keys() & answers.keys():
            what = f"{path} answers none of the {len(questions)} questions of {config.questions}"
            raise CommandError(what, "Correct --answers or --questions.")
    asked = tuple(
        AskedQuestion(question, category, comparison)
        for category, question, comparison in comparisons_of(
            [*questions.values()], contexts, sides, rules
        )
    )
    categories = {one.category for one in asked}
    files = {"questions": config.questions, "answers_a": path_a, "answers_b": path_b}
    digests: dict[str, str | None] = {
        name: _digest(path.read_bytes()) for name, path in files.items()
    }
    digests["context"] = None if config.context is None else _digest(config.context.read_bytes())
    return ReviewSet(
        asked,
        _named_apart(model_name(path_a, sides[0]), model_name(path_b, sides[1])),
        (_unasked(sides[0], questions), _unasked(sides[1], questions)),
        tuple(sorted(one for one in categories if one not in rules and one != DEFAULT)),
        digests | {"rules": _digest(rules_content)},
    )


def _require_told(config: ReviewConfig, questions: Mapping[str, ReviewQuestion]) -> None:
    """Refuse to let a judge guess what is in an image."""
    if config.context is not None or config.show_images is not None:
        return
    with_image = next((one for one in questions.values() if one.image is not None), None)
    if with_image is not None:
        raise CommandError(
            f"question {with_image.key} is about an image, of which the judge would know nothing",
            "Name LLaVA's context file with --context, or the images' folder with --show-images.",
        )


def _unasked(answers: Mapping[str, ReviewedAnswer], questions: Mapping[str, ReviewQuestion]) -> int:
    return len(answers.keys() - questions.keys())


def _named_apart(name_a: str, name_b: str) -> tuple[str, str]:
    return (name_a, name_b) if name_a != name_b else (f"{name_a} (A)", f"{name_b} (B)")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
