"""Drawn images, and TSV files of them."""

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw


def png(number: int = 0) -> bytes:
    """Return an image of its own for each number."""
    image = Image.new("RGB", (32, 24), (number * 40 % 256, number * 70 % 256, 200))
    ImageDraw.Draw(image).ellipse((4, 4, 20, 20), fill=(number * 90 % 256, 30, 60))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def in_base64(number: int = 0) -> str:
    return base64.b64encode(png(number)).decode()


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path
