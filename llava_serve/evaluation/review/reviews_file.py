"""Reviews file: the judge's texts with the scores that were read in them, one line a review."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.review.comparison import ORDERS, AnswerComparison, Order
from llava_serve.evaluation.review.scores import Scores, ScoresFailure, read_scores

_WRONG: Mapping[ScoresFailure, str] = {
    "empty": "the judge said nothing",
    "no_scores": "the first line is not two numbers",
    "out_of_range": "a score is not from 0 to 10",
    "cut": "the review ends at the limit of tokens before its scores do",
}


class ReviewRecord(AnswerRecord):
    """Line of `reviews.jsonl`; the last one of a question and an order counts.

    `index` counts the questions that both models answer, two reviews for each. `scores` are those
    of the sides A and B, whatever their order, and None where the review failed. Then `text`, which
    is the judge's, may stand beside the failure, whose code is one of `ScoresFailure` or that of an
    error of the judge's server.
    """

    question_id: str
    order: Order
    scores: tuple[float, float] | None = None


class ReviewsFile(AnswersFile):
    """Appends what a judge says with the scores that are in it; without scores, it has failed."""

    def __init__(self, path: Path, comparisons: Sequence[AnswerComparison]) -> None:
        """Open the file, or begin it. Raises as `AnswersFile`."""
        super().__init__(path, len(ORDERS) * len(comparisons))
        self._comparisons = comparisons

    def append(self, record: AnswerRecord) -> None:
        """Read the scores, and write the review down at once.

        Raises:
            CommandError: it cannot be written.
        """
        number, place = divmod(record.index, len(ORDERS))
        super().append(review_of(record, self._comparisons[number].key, ORDERS[place]))


def index_of(comparison: int, order: Order) -> int:
    """Return the index of a review, given the number of its comparison, from 0."""
    return len(ORDERS) * comparison + ORDERS.index(order)


def review_of(answer: AnswerRecord, question_id: str, order: Order) -> ReviewRecord:
    """Return a judge's answer as a review."""
    fields = {**dict(answer), "question_id": question_id, "order": order}
    if answer.text is None:
        return ReviewRecord.model_validate(fields)
    found = read_scores(answer.text, is_cut=answer.finish_reason == "length")
    if isinstance(found, Scores):
        scores = (found.first, found.second)
        return ReviewRecord.model_validate(
            {**fields, "scores": scores if order == "ab" else scores[::-1]}
        )
    failure = AnswerFailure(code=found, message=_WRONG[found])
    return ReviewRecord.model_validate({**fields, "failure": failure})


def read_reviews(path: Path) -> list[ReviewRecord]:
    """Return all lines of a file, in the order in which they came."""
    with path.open("rb") as file:
        return [ReviewRecord.model_validate_json(line) for line in file]
