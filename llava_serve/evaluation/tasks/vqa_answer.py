"""Answers made comparable as VQA's evaluation does: marks, number words, articles, contractions."""

import re

# Source of all tables: GT-Vision-Lab/VQA@a013f00
# PythonEvaluationTools/vqaEvaluation/vqaEval.py::VQAEval.__init__; those of
# haotian-liu/LLaVA@c121f04 llava/eval/m4c_evaluator.py::EvalAIAnswerProcessor are the same.
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_MARKS = ';/[]"{}()=+\\_->@<`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32  # re.UNICODE stands where the number of replacements belongs
_COMMA_IN_NUMBER = re.compile(r"\d,\d")

# Each is written with any one of its apostrophes left out, and is then completed.
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, mark in enumerate(word) if mark == "'"]


_COMPLETED = {
    short: word for word in _CONTRACTIONS.split() for short in _without_one_apostrophe(word)
} | {"somebody'd": "somebodyd"}  # the wrong way round in the original


def without_breaks(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def normalized(answer: str) -> str:
    """Return an answer without breaks in VQA's form.

    Source: GT-Vision-Lab/VQA@a013f00 PythonEvaluationTools/vqaEvaluation/vqaEval.py
    ::VQAEval.processPunctuation and ::VQAEval.processDigitArticle
    """
    return normalized_words(without_marks(answer))


def normalized_words(answer: str) -> str:
    """Return an answer without marks with its numbers, articles and contractions in VQA's form.

    Source: GT-Vision-Lab/VQA@a013f00 PythonEvaluationTools/vqaEvaluation/vqaEval.py
    ::VQAEval.processDigitArticle
    """
    words = (_NUMBERS.get(word, word) for word in answer.lower().split())
    return " ".join(_COMPLETED.get(word, word) for word in words if word not in _ARTICLES)


def evalai_answer(answer: str) -> str:
    """Return an answer as LLaVA submits it, and as TextVQA compares it.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/m4c_evaluator.py::EvalAIAnswerProcessor
    """
    answer = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalized(without_breaks(answer))


def without_marks(answer: str, period: re.Pattern[str] = _PERIOD) -> str:
    """Leave a mark out beside a space, and anywhere in an answer with a number such as 1,000.

    Elsewhere a space takes its place. A period stays where `period` does not find it: by default
    before a digit only.
    """
    has_comma_in_number = _COMMA_IN_NUMBER.search(answer) is not None
    cleaned = answer
    for mark in filter(answer.__contains__, _MARKS):
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        cleaned = cleaned.replace(mark, "" if beside_space or has_comma_in_number else " ")
    return period.sub("", cleaned, count=_MOST_PERIODS)
