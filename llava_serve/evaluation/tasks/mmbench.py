"""MMBench in English and Chinese: a TSV of questions with options, some in several orders."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from llava_serve.evaluation.question import Grade, Question, Turn
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.option_answer import option_grade
from llava_serve.evaluation.tasks.option_question import (
    CHINESE,
    ENGLISH,
    option_prompt,
    options_of,
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

    Its files hold a question in several orders of its options, as rows of their own. An answer
    from which no option can be read counts as wrong: MMBench's server asks a language model then.
    """

    name: ClassVar[str] = "mmbench"
    main_metric: ClassVar[str] = "circular_accuracy"
    max_tokens = 1024
    instruction: ClassVar[str] = ENGLISH
    usual_file: ClassVar[str] = "mmbench_dev_20230712.tsv"

    def __init__(self, data: Path) -> None:
        self._file = TsvFile(table_in(data, self.usual_file))

    def questions(self) -> Iterator[Question]:
        images = TsvImages(self._file)
        for row in self._file.rows():
            prompt, metadata = _asked(row)
            yield Question(
                id=row.fields["index"],
                turns=(Turn("user", f"{prompt}\n{self.instruction}", images.of_row(row)),),
                kind=row.fields.get("category", ""),
                truth=row.fields.get("answer"),
                metadata=metadata,
            )

    def grade(self, question: Question, text: str) -> Grade:
        return option_grade(question, text)

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
            for row, prediction in beside(self._file.rows(), answered)
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


def _asked(row: TsvRow) -> tuple[str, dict[str, Any]]:
    """Return the prompt without the instruction, and what is kept of the row."""
    options = _asked_options(row)
    letters = list(_LETTERS[: len(options)])
    hint = row.fields.get("hint", "none")
    shown = dict(zip(letters, options, strict=True))
    prompt = option_prompt(row, shown, None if _stands_for_nothing(hint) else hint)
    of_llava = {  # as its answers file has it, without `--all-rounds`
        "prompt": prompt,
        "round_id": 0,
        "options": options,
        "option_char": letters,
    }
    return prompt, {**row_metadata(row), **of_llava, "choices": options_of(row)}
