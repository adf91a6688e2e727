"""Reviewing: each pair of answers to the judge in both orders, several reviews at once."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from llava_serve.errors import ServeError
from llava_serve.evaluation.answer_record import AnswerRecord
from llava_serve.evaluation.concurrency import Concurrency
from llava_serve.evaluation.outage import Outage
from llava_serve.evaluation.progress import tracked
from llava_serve.evaluation.review.comparison import ORDERS, AnswerComparison, Order
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.evaluation.review.judges import ReviewJudge, ReviewRequest, open_judge
from llava_serve.evaluation.review.refusal import told_of_judge
from llava_serve.evaluation.review.review_set import ReviewSet
from llava_serve.evaluation.review.reviews_file import ReviewsFile
from llava_serve.evaluation.review.shown_image import read_image
from llava_serve.evaluation.runner import Runner

_ATTACHED = " The image itself is attached; it counts more than what is told of it."


@dataclass(frozen=True, slots=True)
class ReviewAsker:
    """Asks a judge; `images` is the folder of what it is shown."""

    judge: ReviewJudge
    images: Path | None

    async def ask(self, index: int, question: tuple[AnswerComparison, Order], /) -> AnswerRecord:
        """Return what the judge says of two answers in one order.

        Raises:
            CommandError: no review can be had from this judge, or an image is no longer there.
            ServeError: this one cannot be had.
        """
        request = await self._request(*question)
        try:
            said = await self.judge.review(request)
        except ServeError as exc:
            raise told_of_judge(exc) from exc
        finish_reason = "length" if said.is_cut else "stop"
        return AnswerRecord(index=index, text=said.text, finish_reason=finish_reason)

    async def _request(self, comparison: AnswerComparison, order: Order) -> ReviewRequest:
        system, prompt = comparison.rule.system, comparison.prompt(order)
        name = comparison.question.image
        if self.images is None or name is None:
            return ReviewRequest(system, prompt)
        image = await asyncio.to_thread(read_image, self.images, name)
        return ReviewRequest(system + _ATTACHED, prompt, image)


async def review_all(config: ReviewConfig, reviews: ReviewSet, kept: ReviewsFile) -> None:
    """Make every review that is open or has failed, and write each down at once.

    Raises:
        CommandError: the run cannot go on; what is written down stays.
    """
    total, done = len(ORDERS) * len(reviews.comparisons), kept.count("answered")
    if done == total:
        return
    async with open_judge(config) as judge:
        runner = Runner(
            ReviewAsker(judge, config.show_images),
            kept,
            Concurrency(config.concurrency),
            Outage(config.patience),
            config.attempts,
            retry_failed=True,
        )
        with tracked("reviews", total, done, Console(stderr=True)) as tracker:
            await runner.run(_orders(reviews), tracker)


def _orders(reviews: ReviewSet) -> Iterator[tuple[AnswerComparison, Order]]:
    """Yield the reviews in the order of their indices."""
    return ((one, order) for one in reviews.comparisons for order in ORDERS)
