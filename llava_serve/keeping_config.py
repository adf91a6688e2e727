"""Settings of what a controller keeps for its callers: responses, and uploaded files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve import args


@dataclass(frozen=True, kw_only=True)
class KeepingConfig:
    """How much is kept, where, and for how long."""

    keep_responses_days: Annotated[
        float,
        "days for which answers of /v1/responses are kept, to be gone on with by their id; 0 keeps "
        "none",
    ] = 0.0
    files_dir: Annotated[
        Path | None, "folder of uploaded pictures; default: files in the state folder"
    ] = None
    files_quota_mb: Annotated[
        float, "uploaded pictures of one key, in 10^6 bytes; all together ten times; 0 takes none"
    ] = 200.0
    files_expiry_h: Annotated[float, "hours that uploaded pictures are kept"] = 24.0

    def __post_init__(self) -> None:
        args.require_not_negative(self, "keep_responses_days", "files_quota_mb")
        args.require_positive(self, "files_expiry_h")
