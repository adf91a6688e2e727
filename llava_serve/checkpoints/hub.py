"""Hub names and paths: the folder on this machine that one means, and the name to serve under."""

import logging
from pathlib import Path

import huggingface_hub  # which imports its parts when they are used
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # what the hub raises

from llava_serve.errors import CheckpointError
from llava_serve.local_path import local_path

logger = logging.getLogger(__name__)

_KEPT = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors", "*.bin"]
_LISTING_TIMEOUT_S = 10


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


def folder_of(path: str) -> Path:
    """Return the folder `path` names; a hub name is downloaded first, into the hub's own cache.

    Raises:
        CheckpointError: there is neither such a folder nor such a hub model within reach.
    """
    try:
        folder = local_path(path)
        if folder.is_dir():
            return folder
        is_file = folder.exists()
    except OSError as exc:
        raise CheckpointError(
            f"cannot look at {path}: {exc.strerror or exc}. Correct the path."
        ) from exc
    if is_file:
        raise CheckpointError(f"{path} is a file; give the folder of the checkpoint.")
    if not is_hub_name(path):
        raise CheckpointError(f"there is no folder {path}. Correct the path.")
    try:
        return _download(path)
    except (RepositoryNotFoundError, HFValidationError) as exc:
        raise CheckpointError(
            f"there is no folder {path}, and the hub gives no model of that name "
            f"({type(exc).__name__}). Correct the name, or log in with `hf auth login` if the "
            "model is private or gated."
        ) from exc
    except (httpx.HTTPError, OSError) as exc:
        raise CheckpointError(
            f"there is no folder {path}, it is not in the hub's cache, and the hub cannot be "
            f"reached from here ({type(exc).__name__}). Correct the path, or download the model "
            "where there is a network and give its folder."
        ) from exc


def _download(name: str) -> Path:
    try:
        info = huggingface_hub.HfApi().model_info(name, timeout=_LISTING_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise
    except (httpx.HTTPError, OSError) as exc:
        logger.info("the hub does not answer (%s); looking for %s in its cache", exc, name)
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    files = [sibling.rfilename for sibling in info.siblings or []]
    # The same weights often lie there a second time, pickled.
    pickled = ["*.bin"] if any(file.endswith(".safetensors") for file in files) else []
    return Path(
        huggingface_hub.snapshot_download(name, allow_patterns=_KEPT, ignore_patterns=pickled)
    )
