"""Settings of the terminal; with --controller only those of the request."""

from dataclasses import dataclass, fields
from typing import Annotated

from llava_serve.args import require_defaults, require_http, require_positive
from llava_serve.config import LogLevel, MediaConfig, ModelConfig, StateConfig
from llava_serve.key_config import CredentialConfig
from llava_serve.tls_config import TrustConfig


@dataclass(frozen=True, kw_only=True)
class CliConfig(ModelConfig, MediaConfig, TrustConfig, CredentialConfig, StateConfig):
    """Talk with a model about pictures in the terminal.

    Without --controller the model runs in this process. With a pipe on standard input each line is
    one question, and the program ends with the input.
    """

    image_file: Annotated[
        tuple[str, ...], "picture to talk about, a path or a web address; may be repeated"
    ] = ()
    video_file: Annotated[tuple[str, ...], "video to talk about; may be repeated"] = ()
    controller: Annotated[
        tuple[str, ...],
        "ask a running controller instead of loading a model; may be repeated, to go on with the "
        "next when one is away",
        "--controller-url",
        "--controller-address",
    ] = ()
    model_name: Annotated[
        str | None,
        "with --controller, the model to ask, by default its first; otherwise what to call the "
        "model, by default after its path",
    ] = None
    allow_remote_media: Annotated[
        bool, "fetch web addresses of public hosts that a loaded conversation holds"
    ] = False
    system: Annotated[str | None, "system prompt"] = None
    temperature: Annotated[float, "0 is greedy; higher is more random"] = 0.2
    top_p: Annotated[float, "share of probability to sample from"] = 1.0
    max_new_tokens: Annotated[int, "longest answer, in tokens"] = 512
    seed: Annotated[int | None, "makes sampling repeatable"] = None
    json: Annotated[bool, "print one JSON object per answer"] = False
    debug: Annotated[bool, "log everything, and show tracebacks"] = False
    log_level: Annotated[LogLevel, "least severe message to log"] = "warning"

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        MediaConfig.__post_init__(self)
        require_http(self, "controller")
        require_positive(self, "max_new_tokens", "top_p")
        if not 0 <= self.temperature <= 2:
            raise ValueError("--temperature must be between 0 and 2")
        if self.top_p > 1:
            raise ValueError("--top-p must be at most 1")
        if self.controller:
            theirs = {field.name for field in fields(ModelConfig)} - {"model_name"}
            theirs |= {"max_images", "allow_remote_media"}
            require_defaults(self, theirs, "with --controller: the worker decides that")
        else:
            require_defaults(self, ("ca_file",), "without --controller")
