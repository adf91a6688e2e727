"""Settings of the commands that ask a server of chat completions: address, key, authorities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve import args
from llava_serve.config import LogConfig, LogLevel
from llava_serve.tls_config import TrustConfig


@dataclass(frozen=True, kw_only=True)
class ServerConfig(TrustConfig, LogConfig):
    """Flags of the server that is asked."""

    controller: Annotated[
        str,
        "address of a controller, of a worker, or of any server of OpenAI's chat completions",
        "--controller-url",
        "--controller-address",
    ] = "http://127.0.0.1:10000"
    api_key_file: Annotated[Path | None, "file with the API key, where one is asked for"] = None
    log_level: Annotated[LogLevel, "least severe message to log"] = "warning"

    def __post_init__(self) -> None:
        args.require_http(self, "controller")
