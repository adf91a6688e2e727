"""A path or a hub name becomes a folder on this machine."""

import logging
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # what the hub raises

from llava_serve.checkpoints.naming import is_hub_name
from llava_serve.errors import CheckpointError
from llava_serve.local_path import local_path

logger = logging.getLogger(__name__)

_KEPT = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors", "*.bin"]
_LISTING_TIMEOUT_S = 10


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
        info = HfApi().model_info(name, timeout=_LISTING_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise
    except (httpx.HTTPError, OSError) as exc:
        logger.info("the hub does not answer (%s); looking for %s in its cache", exc, name)
        return Path(snapshot_download(name, local_files_only=True))
    files = [sibling.rfilename for sibling in info.siblings or []]
    # The same weights often lie there a second time, pickled.
    pickled = ["*.bin"] if any(file.endswith(".safetensors") for file in files) else []
    return Path(snapshot_download(name, allow_patterns=_KEPT, ignore_patterns=pickled))
