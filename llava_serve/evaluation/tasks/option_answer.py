"""Answer to a question with options: which option's letter it gives, in letters or in words.

Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/utils/matching_util.py::can_infer
Where these rules find no option, VLMEvalKit can ask a language model, and MMBench's server does;
here such an answer gives none.
"""

import re
from collections.abc import Mapping

from llava_serve.evaluation.question import Grade, Question

# An answer with one of these refuses: it gives no option, whatever letters it has.
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FAILED = "Failed to obtain answer via API"
_NO_OPTION = "Z"
_AROUND_A_LETTER = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 5  # a lone letter counts only among these
_SENTENCE = re.compile(r"(?:correct\s+)?answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)


def option_grade(question: Question, text: str) -> Grade:
    """Grade an answer to a question whose `choices` stand in its metadata."""
    letter = read_option(text, question.metadata["choices"])
    return Grade(letter, None if question.truth is None else float(letter == question.truth))


def read_option(answer: str, options: Mapping[str, str]) -> str:
    """Return the letter of the option that an answer gives, or "".

    Args:
        answer: what the model said.
        options: texts of the options by their letters.
    """
    letter = _letter_in(answer, options)
    if letter is None:
        letter = _text_in(answer, options)
    return letter if letter is not None and letter in options else ""


def _letter_in(answer: str, options: Mapping[str, str]) -> str | None:
    if _FAILED in answer:
        return None
    if any(refusal in answer for refusal in _REFUSALS):
        return _NO_OPTION
    words = answer.translate(_AROUND_A_LETTER).split()
    found = [letter for letter in options if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - _LAST_WORDS:
        return found[0]
    if not found and _NO_OPTION in words:
        return _NO_OPTION
    sentence = _SENTENCE.search(answer)
    if sentence is not None and sentence[1].upper() in options:
        return sentence[1].upper()
    return None


def _text_in(answer: str, options: Mapping[str, str]) -> str | None:
    """Return the only option whose text stands in the answer; a long answer says anything."""
    answer = answer.lower()
    if len(answer) > 2 * sum(len(text) for text in options.values()):
        return None
    found = [letter for letter, text in options.items() if text.lower() in answer]
    return found[0] if len(found) == 1 else None
