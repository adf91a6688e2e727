"""Secret files: tokens and keys of one line, which only their owner can read."""

import os
import tempfile
from pathlib import Path

from llava_serve.errors import CommandError


def read_secret(
    path: Path,
    use: str = "an API key",
    remedy: str = "Name a file that holds nothing but the key with --api-key-file.",
) -> str:
    """Return the one line of a file, whose `use` an error names.

    Raises:
        CommandError: it cannot be read, or holds something else.
    """
    problem = "it is not one line of printable characters without spaces"
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        text, problem = "", str(exc)
    if not text or not text.isprintable() or " " in text:
        raise CommandError(f"{path} cannot be used as {use}: {problem}", remedy)
    return text


def write_secret(path: Path, text: str) -> bool:
    """Write `text` to a new file with mode 0600; False where a file is there already.

    The file appears complete or not at all: it is written under another name and then linked,
    which fails when somebody else was faster.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        Path(draft).unlink()
    return True
