"""Comparison of two answers to one question: its category, its rule, what the judge reads of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.inputs import (
    ImageContext,
    ReviewedAnswer,
    ReviewQuestion,
)
from llava_serve.evaluation.review.rules import ReviewRule, Rules, rule_of

Order = Literal["ab", "ba"]
ORDERS: tuple[Order, Order] = ("ab", "ba")
_IN_THE_WILD = "llava_bench_"


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """Answers A, the reference, and B to one question; `category` is that of the rule file."""

    question: ReviewQuestion
    context: ImageContext | None
    answers: tuple[ReviewedAnswer, ReviewedAnswer]
    category: str
    rule: ReviewRule

    @property
    def key(self) -> str:
        return self.question.key

    def prompt(self, order: Order) -> str:
        """Return what the judge reads; in the order `ba`, B is the first assistant.

        Source: layout of haotian-liu/LLaVA@c121f04 llava/eval/eval_gpt_review_bench.py and
        eval_gpt_review_visual.py, which rule files refer to.
        """
        answers = self.answers if order == "ab" else self.answers[::-1]
        blocks = [("Context", _told(self.context))] if self.context is not None else []
        blocks.append(("Question", self.question.text))
        text = "".join(f"[{name}]\n{body}\n\n" for name, body in blocks)
        for place, answer in enumerate(answers, 1):
            author = f"{self.rule.role} {place}"
            text += f"[{author}]\n{answer.text}\n\n[End of {author}]\n\n"
        return f"{text}[System]\n{self.rule.prompt}\n\n"


def category_of(question: ReviewQuestion, context: ImageContext | None) -> str:
    """Return a question's category in LLaVA's rule file, where those in the wild have a prefix."""
    is_wild = context is not None and context.caption is not None
    has_prefix = question.category.startswith(_IN_THE_WILD)
    return _IN_THE_WILD + question.category if is_wild and not has_prefix else question.category


def comparisons_of(
    questions: Sequence[ReviewQuestion],
    contexts: Mapping[str, ImageContext] | None,
    answers: tuple[Mapping[str, ReviewedAnswer], Mapping[str, ReviewedAnswer]],
    rules: Rules,
) -> Iterator[tuple[str, ReviewQuestion, AnswerComparison | None]]:
    """Yield each question with its category and its comparison; None: an answer is missing.

    `contexts` is None where the judge is told nothing of the images.

    Raises:
        CommandError: nothing is told of a question's image, or there is no rule for its category.
    """
    for question in questions:
        context = _context_of(question, contexts)
        category = category_of(question, context)
        rule = rule_of(rules, category)
        if rule is None:
            what = f"question {question.key} is of the category {category!r}, which has no rule"
            raise CommandError(what, f"Add it to --rules, which has: {', '.join(sorted(rules))}.")
        one, other = (side.get(question.key) for side in answers)
        if one is None or other is None:
            yield category, question, None
        else:
            both = (one, other)
            yield category, question, AnswerComparison(question, context, both, category, rule)


def _context_of(
    question: ReviewQuestion, contexts: Mapping[str, ImageContext] | None
) -> ImageContext | None:
    if question.image is None or contexts is None:
        return None
    if question.image not in contexts:
        image = f"{question.image!r}, the image of question {question.key}"
        what = f"the context has no line about {image}"
        raise CommandError(what, "Add one, or correct --context.")
    return contexts[question.image]


def _told(context: ImageContext) -> str:
    if context.caption is not None:
        caption = context.caption
        return caption if isinstance(caption, str) else "\n".join(caption)
    boxes = [f"{one.category}: {list(one.bbox)}" for one in context.instances]
    return "\n".join(context.captions or ()) + "\n\n" + "\n".join(boxes)
