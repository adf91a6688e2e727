"""VQA accuracy: an answer is right as far as three of the other people gave it too."""

from collections.abc import Sequence

from llava_serve.evaluation.tasks.vqa_answer import evalai_answer, normalized, without_breaks

_AGREEING = 3  # so many others make an answer wholly right


def vqav2_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return VQAv2's accuracy of a submitted answer, from 0 to 1.

    Answers are normalized only where people disagree.

    Source: GT-Vision-Lab/VQA@a013f00 PythonEvaluationTools/vqaEvaluation/vqaEval.py
    ::VQAEval.evaluate
    """
    answer = without_breaks(answer)
    truths = [without_breaks(truth) for truth in truths]
    if len(set(truths)) > 1:
        answer = normalized(answer)
        truths = [normalized(truth) for truth in truths]
    return agreement(answer, truths)


def vizwiz_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return VizWiz's accuracy of a submitted answer, from 0 to 1; `truths` stay as they are.

    Source: TRI-ML/vlm-evaluation@d9f5896 vlm_eval/util/evaluation/vizwiz/eval.py::VQAEval.evaluate
    """
    return agreement(normalized(without_breaks(answer)), truths)


def textvqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return TextVQA's accuracy of a model's answer, from 0 to 1.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/m4c_evaluator.py::TextVQAAccuracyEvaluator
    """
    return agreement(evalai_answer(answer), [evalai_answer(truth) for truth in truths])


def agreement(answer: str, truths: Sequence[str]) -> float:
    """Leave each person out once, compare with the others, and take the mean."""
    if not truths:
        return 0.0
    matches = [truth == answer for truth in truths]
    total = sum(matches)
    credits = [min(1.0, (total - own) / _AGREEING) for own in matches]
    return sum(credits) / len(credits)
