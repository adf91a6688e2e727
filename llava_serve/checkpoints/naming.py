"""What a model path says by itself, before anything is read: hub name or folder, and its name."""

from pathlib import Path


def is_hub_name(path: str) -> bool:
    """Say whether `path`, which is no folder here, can name a model of a hub: `owner/name`."""
    return path.count("/") == 1 and not path.startswith(("/", ".", "~"))


def name_of(path: str) -> str:
    """Return the name to serve under: the last folder, with its parent for `checkpoint-500`."""
    where = Path(path)
    if where.name in ("", ".."):
        where = where.resolve()
    if where.name.startswith("checkpoint-") and where.parent.name:
        return f"{where.parent.name}_{where.name}"
    return where.name
