"""MMBench in English and Chinese: a TSV of questions with options, some in several orders."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from llava_serve.evaluation.question import Grade, Question, Turn
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.option_answer import read_option
from llava_serve.evaluation.tasks.option_question import (
    CHINESE,
    ENGLISH,
    option_prompt,
    options_of,
    rotated,
    row_metadata,
)
from llava_serve.evaluation.tasks.option_tally import OptionTally
from llava_serve.evaluation.tasks.table_file import ColumnTypes, beside, write_table
from llava_serve.evaluation.tasks.tsv_file import TsvFile, TsvRow, table_in
from llava_serve.evaluation.tasks.tsv_images import TsvImages

_LETTERS = "ABCD"
_NOT_SUBMITTED = {"hint", "category", "source", "image", "comment", "l2-category"}
_PREDICTION_PLACE = 6


class MMBench:
    """MMBench's TSV, or a folder with it.

    Where `all_rounds` is set, each question is asked in every order of its options, as LLaVA's
    `--all-rounds` does; MMBench's own files hold those orders as rows already. An answer from
    which no option can be read counts as wrong: MMBench's server asks a language model then.
    """

    name: ClassVar[str] = "mmbench"
    main_metric: ClassVar[str] = "circular_accuracy"
    max_tokens = 1024
    instruction: ClassVar[str] = ENGLISH
    usual_file: ClassVar[str] = "mmbench_dev_20230712.tsv"

    def __init__(self, data: Path, *, all_rounds: bool = False) -> None:
        self._file = TsvFile(table_in(data, self.usual_file))
        self._all_rounds = all_rounds

    def questions(self) -> Iterator[Question]:
        images = TsvImages(self._file)
        for row in self._file.rows():
            media = images.of_row(row)
            options = _asked_options(row)
            for places in range(max(1, len(options)) if self._all_rounds else 1):
                prompt, metadata, truth = _round(row, options, places)
                yield Question(
                    id=row.fields["index"],
                    turns=(Turn("user", f"{prompt}\n{self.instruction}", media),),
                    kind=row.fields.get("category", ""),
                    truth=truth,
                    metadata=metadata,
                )

    def grade(self, question: Question, text: str) -> Grade:
        letter = read_option(text, question.metadata["choices"])
        credit = None if question.truth is None else float(letter == question.truth)
        return Grade(letter, credit)

    def tally(self) -> OptionTally:
        return OptionTally(circular=True)

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write the workbook of predictions that MMBench's server takes.

        Source: haotian-liu/LLaVA@c121f04 scripts/convert_mmbench_for_submission.py
        """
        columns = [name for name in self._file.columns() if name not in _NOT_SUBMITTED]
        types = ColumnTypes(self._file.rows(), columns)
        shown = [*columns[:_PREDICTION_PLACE], "prediction", *columns[_PREDICTION_PLACE:]]
        rows = (
            [*cells[:_PREDICTION_PLACE], prediction, *cells[_PREDICTION_PLACE:]]
            for row, prediction in beside(self._file.rows(), _of_first_order(answered))
            for cells in [[types.cell(name, row.fields.get(name)) for name in columns]]
        )
        return [write_table(folder / self._file.path.stem, shown, rows)]


class MMBenchCN(MMBench):
    """MMBench in Chinese."""

    name: ClassVar[str] = "mmbench_cn"
    instruction: ClassVar[str] = CHINESE
    usual_file: ClassVar[str] = "mmbench_dev_cn_20231003.tsv"


def _asked_options(row: TsvRow) -> list[str]:
    """Return the options up to the first that is missing."""
    texts = (row.fields.get(letter, "none") for letter in _LETTERS)
    return list(takewhile(lambda text: not _stands_for_nothing(text), texts))


def _stands_for_nothing(text: str) -> bool:
    """Tell whether LLaVA takes a field for a missing one."""
    return text.lower() in ("nan", "none")


def _round(row: TsvRow, options: list[str], places: int) -> tuple[str, dict[str, Any], str | None]:
    """Return the prompt, what is kept of the row, and the right letter, in one of the orders."""
    shown, truth = rotated(options, row.fields.get("answer"), places)
    letters, _ = rotated(_LETTERS[: len(options)], None, places)
    by_letter = dict(zip(_LETTERS, shown, strict=False))
    hint = row.fields.get("hint", "none")
    prompt = option_prompt(row, by_letter, None if _stands_for_nothing(hint) else hint)
    metadata = row_metadata(row)
    metadata |= {
        "prompt": prompt,  # LLaVA's answers file holds it without the instruction
        "round_id": places,
        "options": shown,
        "option_char": letters,
        "choices": by_letter if places else options_of(row),
        "is_main": metadata["is_main"] and places == 0,
    }
    return prompt, metadata, truth


def _of_first_order(answered: Iterable[Answered]) -> Iterator[Answered]:
    return (one for one in answered if one[0].metadata["round_id"] == 0)
