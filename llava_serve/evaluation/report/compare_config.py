"""Settings of `evaluate compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Compare two runs of one task question by question: of two models, or of one in two ways.

    A and B are the report.json files of the runs, or the folders they lie in.
    """

    out: Annotated[
        Path | None, "folder for compare.json and compare.html; default: that of run B"
    ] = None
    open: Annotated[bool, "open the comparison in a browser"] = False
