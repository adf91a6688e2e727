"""Paths of the bundled checkpoint, its one-word adapter and its example images."""

from pathlib import Path

_HERE = Path(__file__).parent

CHECKPOINT: Path = _HERE / "llava-tiny"
ONE_WORD: Path = _HERE / "llava-tiny-one-word"
EXAMPLES: Path = _HERE / "examples"
