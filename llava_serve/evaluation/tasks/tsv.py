"""Any TSV file of VLMEvalKit's form: questions with options, of yes or no, or open ones."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from llava_serve.evaluation.question import Grade, Question, Turn
from llava_serve.evaluation.task import Answered, MetricTally
from llava_serve.evaluation.tasks.option_question import row_metadata
from llava_serve.evaluation.tasks.table_file import ColumnTypes, beside, write_table
from llava_serve.evaluation.tasks.tsv_file import TsvFile, table_in
from llava_serve.evaluation.tasks.tsv_images import TsvImages
from llava_serve.evaluation.tasks.tsv_kinds import TsvKind, kind_of_file


class Tsv:
    """A TSV file, or a folder with one, whose images stand in it, or beside it under `images`.

    A row without an image is asked without one.
    """

    name: ClassVar[str] = "tsv"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens = 1024

    def __init__(self, data: Path) -> None:
        self._file = TsvFile(table_in(data))

    def questions(self) -> Iterator[Question]:
        images = TsvImages(self._file)
        for row in self._file.rows():
            prompt, truth, choices = self._kind.asked(row)
            metadata = row_metadata(row)
            yield Question(
                id=row.fields["index"],
                turns=(Turn("user", prompt, images.of_row(row)),),
                kind=row.fields.get("category", ""),
                truth=truth,
                metadata=metadata if choices is None else {**metadata, "choices": choices},
            )

    def grade(self, question: Question, text: str) -> Grade:
        return self._kind.grade(question, text)

    def tally(self) -> MetricTally:
        return self._kind.tally()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write the file of predictions that VLMEvalKit evaluates: all columns but the image."""
        columns = [name for name in self._file.columns() if name != "image"]
        types = ColumnTypes(self._file.rows(), columns)
        rows = (
            [*(types.cell(name, row.fields.get(name)) for name in columns), prediction]
            for row, prediction in beside(self._file.rows(), answered)
        )
        return [write_table(folder / self._file.path.stem, [*columns, "prediction"], rows)]

    @cached_property
    def _kind(self) -> TsvKind:
        return kind_of_file(self._file)
