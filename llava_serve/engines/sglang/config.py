"""Settings of the worker that has an SGLang server behind it."""

from dataclasses import dataclass
from typing import Annotated

from llava_serve.args import require_http
from llava_serve.config import MediaConfig, MembershipConfig


@dataclass(frozen=True, kw_only=True)
class SglangWorkerConfig(MediaConfig, MembershipConfig):
    """Put an SGLang server behind the controller.

    Model, context length and load are the server's own; it may start before or after this worker,
    and come back with another model.
    """

    sgl_endpoint: Annotated[str, "address of the SGLang server, or of a router of several"] = (
        "http://127.0.0.1:30000"
    )
    model_name: Annotated[str | None, "name to serve under; default: the server's"] = None
    conv_mode: Annotated[
        str | None, "conversation template to use instead of the server's chat template"
    ] = None
    limit_model_concurrency: Annotated[
        int | None, "answers asked for at once; default: 256, and SGLang batches what fits"
    ] = None

    def __post_init__(self) -> None:
        MediaConfig.__post_init__(self)
        MembershipConfig.__post_init__(self)
        require_http(sgl_endpoint=self.sgl_endpoint)
