"""Settings of `launch`: models, ports, flags of SGLang servers."""

import shlex
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from llava_serve.args import (
    addresses_of,
    names_of,
    require_defaults,
    require_http,
    require_names,
    require_origins,
    require_positive,
)
from llava_serve.config import CorsOrigins, OtlpEndpoint, StateConfig
from llava_serve.keeping_config import KeepingConfig
from llava_serve.key_config import AccountingConfig
from llava_serve.page_config import PageConfig
from llava_serve.registry_config import RegistryConfig
from llava_serve.tls_config import TlsConfig


def require_ray_address(address: str) -> None:
    """Raises: ValueError, when `address` is none of a Ray cluster."""
    host, _, port = address.rpartition(":")
    if address != "auto" and ("/" in address or not host or not port.isdecimal()):
        raise ValueError(f"--ray takes auto or HOST:PORT of a Ray cluster, not {address!r}")


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Show where Ray has placed the replicas, and how each of them is."""

    ray: Annotated[str, "auto, or HOST:PORT of the Ray cluster"] = "auto"

    def __post_init__(self) -> None:
        require_ray_address(self.ray)


@dataclass(frozen=True, kw_only=True)
class LaunchConfig(
    StateConfig, RegistryConfig, TlsConfig, AccountingConfig, KeepingConfig, PageConfig
):
    """Start a controller, one worker per model and the web page; watch them, and stop them all.

    Flags behind a lone -- go to every worker: launch --model P -- --limit-model-concurrency 8.
    Further flags of controller and page are theirs alone: start them by themselves.
    With --ray a Ray cluster runs the workers, and `launch status --ray auto` shows where.
    """

    model: Annotated[
        tuple[str, ...],
        "PATH, PATH=NAME or PATH@BASE=NAME (an adapter on its base); may be repeated; "
        "default: the two models that ship, unless --sglang names one",
    ] = ()
    sglang: Annotated[
        tuple[str, ...],
        "PATH or PATH=NAME of a model that an SGLang server of its own serves; may be repeated",
    ] = ()
    tp: Annotated[int, "GPUs that share each model of an SGLang server (tensor parallel)"] = 1
    dp: Annotated[int, "copies of the model in each SGLang server (data parallel)"] = 1
    sglang_python: Annotated[
        str | None, "interpreter that SGLang is installed for; default: this one"
    ] = None
    sglang_flags: Annotated[
        str,
        "further flags of each SGLang server, in quotes: "
        "--sglang-flags='--mem-fraction-static 0.8'",
    ] = ""
    host: Annotated[str, "address the controller and the page listen on"] = "127.0.0.1"
    allowed_hosts: Annotated[
        str, "comma-separated host names the controller and the page answer under beside their own"
    ] = ""
    cors_origin: CorsOrigins = ()
    controller: Annotated[
        tuple[str, ...],
        "address of a further controller of the cluster, with which the workers register too and "
        "with which the page goes on when this one is away; may be repeated",
    ] = ()
    public_metrics: Annotated[bool, "let everybody read the controller's metrics"] = False
    otlp_endpoint: OtlpEndpoint = None
    controller_port: Annotated[int, "port of the controller"] = 10000
    worker_port: Annotated[int, "port of the first worker; the next ones count up"] = 40000
    web_port: Annotated[int, "port of the page"] = 7860
    sglang_port: Annotated[int, "port of the first SGLang server; the next ones count up"] = 30000
    no_web: Annotated[bool, "start no page"] = False
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where the models run"] = "auto"
    ray: Annotated[
        str | None,
        "auto, or HOST:PORT of the Ray cluster whose machines run the workers; a model may have "
        "options then: PATH=NAME:replicas=4:gpus=1 or :min=1:max=4, further cpus= and, for "
        "--sglang, tp=",
    ] = None
    idle_after: Annotated[
        float, "seconds in which one replica less would do before Ray ends it, down to min="
    ] = 300.0

    def __post_init__(self) -> None:
        TlsConfig.__post_init__(self)
        AccountingConfig.__post_init__(self)
        KeepingConfig.__post_init__(self)
        PageConfig.__post_init__(self)
        require_positive(self, "tp", "dp", "idle_after")
        if self.no_web:
            require_defaults(self, [one.name for one in fields(PageConfig)], "with --no-web")
        if self.ray is None:
            require_defaults(self, ("idle_after",), "without --ray")
        else:
            require_ray_address(self.ray)
        require_http(self, "controller")
        RegistryConfig.__post_init__(self)
        require_names(names_of(self.allowed_hosts))
        require_origins(addresses_of(self.cors_origin))
        require_http(self, "otlp_endpoint")
        try:
            shlex.split(self.sglang_flags)
        except ValueError as exc:
            raise ValueError(f"--sglang-flags {self.sglang_flags!r}: {exc}") from exc
        if self.sglang and self.device == "mps":
            raise ValueError("--sglang runs on cuda or cpu, and not on --device mps")
        if not self.sglang:
            names = ("tp", "dp", "sglang_python", "sglang_flags", "sglang_port")
            require_defaults(self, names, "without --sglang")
