"""Images of a TSV row: in base64, as paths, or those of another row that the field names.

Source: open-compass/VLMEvalKit@e8e78f0 vlmeval/dataset/image_base.py::ImageBaseDataset,
vlmeval/smp/misc.py::toliststr
"""

import ast
import base64
import binascii
from pathlib import Path

from llava_serve.evaluation.media_file import is_there
from llava_serve.evaluation.question import Medium
from llava_serve.evaluation.tasks.tsv_file import TsvFile, TsvRow

_LONGEST_INDEX = 64  # characters; a longer field is an image and not the index of a row


class TsvImages:
    """Finds the images of the rows of one walk through a file.

    It remembers where the rows with an image of their own begin, so that others can name them.
    """

    def __init__(self, file: TsvFile) -> None:
        self._file = file
        self._offsets: dict[str, int] = {}

    def of_row(self, row: TsvRow) -> tuple[Medium, ...]:
        """Return the images; none where the row names none.

        Raises:
            CommandError: a field is neither base64 nor the index of a row with an image.
        """
        if "image" in row.fields:
            self._remember(row)
            return tuple(Medium(_decoded(row, text)) for text in _listed(row, self._image(row)))
        if "image_path" in row.fields:
            names = _listed(row, row.fields["image_path"])
            return tuple(Medium(_found(row.path, name)) for name in names)
        return ()

    def _image(self, row: TsvRow) -> str:
        field = row.fields["image"]
        if len(field) > _LONGEST_INDEX:
            return field
        if field not in self._offsets:
            self._look_ahead(row)
        if field not in self._offsets:
            raise row.malformed(f"takes its image from row {field!r}, which has none")
        return self._file.row_at(self._offsets[field]).fields["image"]

    def _remember(self, row: TsvRow) -> None:
        if len(row.fields.get("image", "")) > _LONGEST_INDEX:
            self._offsets[row.required("index")] = row.offset

    def _look_ahead(self, row: TsvRow) -> None:
        for other in self._file.rows():
            if other.number > row.number:
                self._remember(other)


def _listed(row: TsvRow, field: str) -> list[str]:
    """Return the entries of a field that may hold a list as Python writes it."""
    if not (field.startswith("[") and field.endswith("]")):
        return [field]
    try:
        entries = ast.literal_eval(field)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
        raise row.malformed("holds a list of images that cannot be read") from exc
    return [str(entry) for entry in entries]


def _decoded(row: TsvRow, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise row.malformed(f"holds an image that is not base64: {exc}") from exc


def _found(table: Path, name: str) -> Path:
    """Return an image's path: as it is, beside the table, or among the images of its name."""
    places = (table.parent, table.parent / "images" / table.stem, table.parent / "images")
    paths = [place / name for place in places]
    return next((path for path in paths if is_there(path)), paths[0])
