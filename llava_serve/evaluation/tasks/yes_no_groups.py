"""Yes-or-no files with metrics of their own in VLMEvalKit: MME, HallusionBench and AMBER."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.tasks.mean_credit import MeanCredit
from llava_serve.evaluation.tasks.mme_tally import MmeTally
from llava_serve.evaluation.tasks.yes_no import YesNoTally

# Categories of AMBER that count together.
# Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::AMBER_rating
_AMBER = {
    "discriminative-attribute-state": "Attribute",
    "discriminative-attribute-number": "Attribute",
    "discriminative-attribute-action": "Attribute",
    "discriminative-hallucination": "Existence",
    "discriminative-relation": "Relation",
    "relation": "Relation",
}


class MmeRows(YesNoTally):
    """MME's scores beside the others: its images are told apart by their paths.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::MME_rating
    """

    def __init__(self) -> None:
        super().__init__(several_categories=False)
        self._scores = MmeTally()

    def add(self, question: Question, grade: Grade) -> None:
        super().add(question, grade)
        if grade.credit is not None:
            image = question.metadata.get("image_path", question.id)
            asked = replace(question, metadata={**question.metadata, "image": image})
            self._scores.add(asked, grade)

    def metrics(self) -> dict[str, float]:
        return {**super().metrics(), **self._scores.metrics()}


class HallusionRows(YesNoTally):
    """`facc` is over figures, `qacc` over questions: each counts when all its answers are right.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::Hallusion_rating
    """

    def __init__(self) -> None:
        super().__init__(several_categories=False)
        self._groups: dict[str, dict[Hashable, bool]] = defaultdict(dict)

    def add(self, question: Question, grade: Grade) -> None:
        super().add(question, grade)
        numbers = question.id.split("_")[3:6]
        if grade.credit is None or len(numbers) < 3:
            return
        wider, category = (question.metadata.get(name) for name in ("l2-category", "category"))
        parts = [*([category] if category else []), *([f"l2-category/{wider}"] if wider else [])]
        for metric, number in (("facc", numbers[1]), ("qacc", numbers[2])):
            for name in (metric, *(f"{part}/{metric}" for part in parts)):
                key = (wider, numbers[0], number)
                are_right = self._groups[name].get(key, True)
                self._groups[name][key] = are_right and grade.credit == 1

    def metrics(self) -> dict[str, float]:
        found = super().metrics()
        for name, groups in sorted(self._groups.items()):
            found[name] = sum(groups.values()) / len(groups)
        return found


class AmberRows(YesNoTally):
    """`avg_acc` is the mean of the accuracies of existence, attributes and relations.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/yorn.py::AMBER_rating
    """

    def __init__(self) -> None:
        super().__init__(several_categories=False)
        self._kinds: dict[str, MeanCredit] = defaultdict(MeanCredit)

    def add(self, question: Question, grade: Grade) -> None:
        super().add(question, grade)
        category = question.metadata.get("category", "")
        if grade.credit is not None:
            self._kinds[_AMBER.get(category, category)].add(grade.credit)

    def metrics(self) -> dict[str, float]:
        found = super().metrics()
        means = {name: kind.metrics()["accuracy"] for name, kind in self._kinds.items()}
        found |= {f"{name}/accuracy": mean for name, mean in means.items() if name}
        if means:
            found["avg_acc"] = sum(means.values()) / len(means)
        return found


def tally_of(name: str) -> YesNoTally:
    """Return the tally of the file that has this name."""
    if "MME" in name:
        return MmeRows()
    if "Hallusion" in name:
        return HallusionRows()
    if "AMBER" in name:
        return AmberRows()
    return YesNoTally(several_categories="POPE" in name)
