"""Question with options as LLaVA writes it, and what grading and metrics take from its row.

Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_mmbench.py::eval_model
"""

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from llava_serve.evaluation.tasks.tsv_file import TsvRow

ENGLISH = "Answer with the option's letter from the given choices directly."
CHINESE = "请直接回答选项字母。"

_ROTATION = 1_000_000  # rows of a question with rotated options have its index plus multiples of it

_MOST_DIGITS = 18  # of a 64-bit integer, as pandas reads it


def options_of(row: TsvRow) -> dict[str, str]:
    """Return the texts of a row's options by their letters.

    Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/utils/multiple_choice.py::build_choices
    """
    return {letter: row.fields[letter] for letter in ascii_uppercase if letter in row.fields}


def option_prompt(row: TsvRow, options: Mapping[str, str], hint: str | None) -> str:
    """Return hint, question and options by their letters, without the instruction.

    Raises:
        CommandError: the row has no question.
    """
    question = row.required("question")
    lines = [] if hint is None else [hint]
    lines.append(question)
    lines += [f"{letter}. {text}" for letter, text in options.items()]
    return "\n".join(lines)


def row_metadata(row: TsvRow) -> dict[str, Any]:
    """Return what metrics count by: the row's group, its categories, its split and its image."""
    index = row.required("index")
    is_number = index.isascii() and index.isdigit() and len(index) <= _MOST_DIGITS
    group = int(index) % _ROTATION if is_number else index
    columns = ("category", "l2-category", "split", "image_path")
    return {
        "question_id": int(index) if is_number else index,
        "group": group,
        "is_main": not is_number or int(index) == group,
        "row": row.number,
        **{name: row.fields[name] for name in columns if name in row.fields},
    }


def parts_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the parts of the metrics that count a question."""
    named = [metadata["category"]] if "category" in metadata else []
    if "l2-category" in metadata:
        named.append(f"l2-category/{metadata['l2-category']}")
    if "split" not in metadata:
        return named
    split = f"split/{metadata['split']}"
    return [*named, split, *(f"{split}/{part}" for part in named)]
