"""Paths of the bundled checkpoint, its one-word adapter, its example images and small POPE."""

from pathlib import Path

_HERE = Path(__file__).parent

CHECKPOINT: Path = _HERE / "llava-tiny"
ONE_WORD: Path = _HERE / "llava-tiny-one-word"
EXAMPLES: Path = _HERE / "examples"
POPE: Path = _HERE / "pope"
