"""Settings of the judge command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve import args
from llava_serve.config import LogConfig, LogLevel
from llava_serve.storage.battle_tables import LONGEST_NAME
from llava_serve.storage.store_config import StoreConfig
from llava_serve.tls_config import TrustConfig


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(StoreConfig, TrustConfig, LogConfig):
    """Let a model judge the arena's battles, each in both orders; votes of people stay apart.

    What it has judged is not asked again; what has failed is.
    """

    server: Annotated[str, "address of any server of OpenAI's chat completions"] = (
        "http://127.0.0.1:10000"
    )
    model: Annotated[str, "judge: a model that this server has"]
    api_key_file: Annotated[Path | None, "file with the API key, where one is asked for"] = None
    limit: Annotated[int | None, "most battles to judge in this run"] = None
    max_tokens: Annotated[int, "longest answer of the judge"] = 1024
    json: Annotated[bool, "print one JSON object instead of lines"] = False
    log_level: Annotated[LogLevel, "least severe message to log"] = "warning"

    def __post_init__(self) -> None:
        args.require_http(self, "server")
        if not 0 < len(self.model.strip()) <= LONGEST_NAME:  # votes without a name are people's
            raise ValueError(f"--model takes a name of 1 to {LONGEST_NAME} characters")
        if self.limit is not None and self.limit < 1:
            raise ValueError("--limit must be at least 1")
        if self.max_tokens < 1:
            raise ValueError("--max-tokens must be at least 1")
