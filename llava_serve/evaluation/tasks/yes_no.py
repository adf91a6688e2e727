"""Answers of yes or no, and the metrics of files of such questions."""

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.tasks.mean_credit import MeanCredit
from llava_serve.evaluation.tasks.open_answer import without_marks


def read_yes_no(text: str) -> str:
    """Return "Yes" or "No", whichever stands alone in an answer, or "" for neither or both.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::YOrN_Extraction
    """
    words = without_marks(text.lower()).split()
    if ("yes" in words) == ("no" in words):
        return ""
    return "Yes" if "yes" in words else "No"


class YesNoTally:
    """Accuracy over all and by category; precision, recall and F1 of the answer yes.

    An answer that is neither counts as wrong, and as a no.
    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::default_rating,
    VSR_rating
    """

    def __init__(self) -> None:
        self._mean = MeanCredit()
        self._found = self._said = self._are = 0  # yes: said and true, said, true

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is None:
            return
        metadata = question.metadata
        parts = [metadata["category"]] if "category" in metadata else []
        if "l2-category" in metadata:
            parts.append(f"l2-category/{metadata['l2-category']}")
        self._mean.add(grade.credit, parts)
        is_yes, says_yes = question.truth.lower() == "yes", grade.parsed == "Yes"
        self._found += is_yes and says_yes
        self._said += says_yes
        self._are += is_yes

    def metrics(self) -> dict[str, float]:
        found = self._mean.metrics()
        if self._said:
            found["precision"] = self._found / self._said
        if self._are:
            found["recall"] = self._found / self._are
        if self._said + self._are:
            found["f1"] = 2 * self._found / (self._said + self._are)
        return found
