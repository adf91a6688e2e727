"""Settings of each command, a frozen dataclass: its documentation, its flags, its validation.

The terminal's are in `terminal/config.py`, launch's in `launching/config.py`, those of the SGLang
worker in `engines/sglang/config.py`. What several commands have in common stands in
`model_config.py`, `key_config.py`, `tls_config.py`, `login_config.py`, `page_config.py` and
`registry_config.py`.

Where LLaVA's own command spells a flag differently, the spelling stands behind the help.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from llava_serve import args
from llava_serve.keeping_config import KeepingConfig
from llava_serve.key_config import AccountingConfig, CredentialConfig, KeyConfig
from llava_serve.model_config import MediaConfig as MediaConfig, ModelConfig as ModelConfig
from llava_serve.page_config import PageConfig
from llava_serve.registry_config import RegistryConfig
from llava_serve.tls_config import TlsConfig

STATE = Path.home() / ".local" / "state" / "llava_serve"
CONTROLLER = "http://127.0.0.1:10000"

LogLevel = Literal["debug", "info", "warning", "error"]
OtlpEndpoint = Annotated[
    str | None, "address of an OpenTelemetry collector (OTLP over HTTP) that gets traces"
]
CorsOrigins = Annotated[
    tuple[str, ...],
    "origin whose pages may ask from a browser, as https://chat.example.com; * for every one; may "
    "be repeated",
]


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Log level of every command."""

    log_level: Annotated[LogLevel, "least severe message to log"] = "info"


@dataclass(frozen=True, kw_only=True)
class StateConfig(LogConfig):
    """State folder of the commands that keep files."""

    state_dir: Annotated[Path, "folder of the cluster token, keys, conversations and pictures"] = (
        STATE
    )


@dataclass(frozen=True, kw_only=True)
class ListenConfig(StateConfig, TlsConfig):
    """Flags of a command that listens: host, names, limits of bodies."""

    host: Annotated[str, "address to listen on"] = "127.0.0.1"
    allowed_hosts: Annotated[
        str,
        "comma-separated host names to answer under beside this machine's own; .example.com for "
        "all below it, * for every name",
    ] = ""
    max_body_mb: Annotated[float, "largest request body, in 10^6 bytes"] = 50.0
    max_text_mb: Annotated[
        float, "largest request body without its pictures and videos, in 10^6 bytes"
    ] = 1.0
    otlp_endpoint: OtlpEndpoint = None

    def __post_init__(self) -> None:
        TlsConfig.__post_init__(self)
        args.require_positive(self, "max_body_mb", "max_text_mb")
        args.require_names(self.allowed_names)
        args.require_http(self, "otlp_endpoint")

    @property
    def allowed_names(self) -> tuple[str, ...]:
        """The names of `--allowed-hosts`."""
        return args.names_of(self.allowed_hosts)

    @property
    def max_body_bytes(self) -> int:
        """`--max-body-mb` in bytes."""
        return int(self.max_body_mb * 1e6)

    @property
    def max_text_bytes(self) -> int:
        """`--max-text-mb` in bytes."""
        return int(self.max_text_mb * 1e6)


@dataclass(frozen=True, kw_only=True)
class ApiConfig(ListenConfig, KeyConfig):
    """Flags of controller and workers: who is answered, and may read the metrics."""

    cors_origin: CorsOrigins = ()
    public_metrics: Annotated[
        bool,
        "show /metrics, /workers and /docs to everybody, and not to this machine, admin keys and "
        "holders of the cluster's token only",
    ] = False

    def __post_init__(self) -> None:
        ListenConfig.__post_init__(self)
        KeyConfig.__post_init__(self)
        args.require_origins(self.origins)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of `--cors-origin`."""
        return args.addresses_of(self.cors_origin)


@dataclass(frozen=True, kw_only=True)
class ControllerConfig(ApiConfig, AccountingConfig, RegistryConfig, KeepingConfig):
    """Keep the registry of workers and send each request to a live worker that serves its model."""

    port: Annotated[int, "port to listen on"] = 10000
    dispatch_method: Annotated[
        Literal["picture_affine", "shortest_queue", "lottery", "round_robin"],
        "how a worker is chosen: by what it holds in its caches, its load, chance or turn",
    ] = "picture_affine"
    cluster_token_file: Annotated[
        Path | None, "file with the token workers prove themselves with; made when missing"
    ] = None
    trust_workers_from: Annotated[
        str, "comma-separated IP addresses whose LLaVA workers may join without the token"
    ] = ""
    heartbeat_expiry: Annotated[float, "seconds of silence before a worker is dropped"] = 45.0
    canary_every: Annotated[
        float,
        "seconds between two checks whether an idle worker sees what is in pictures; 0 checks "
        "none, not even one that joins",
    ] = 600.0
    serve_blind: Annotated[bool, "send pictures to workers that do not see them, too"] = False
    connect_timeout: Annotated[float, "seconds to wait for a worker to accept"] = 3.0
    first_byte_timeout: Annotated[float, "seconds to wait for a worker's first byte"] = 120.0
    answer_timeout: Annotated[float, "seconds to wait for an answer that is not streamed"] = 600.0
    idle_timeout: Annotated[float, "seconds of silence within an answer"] = 60.0
    max_waiting: Annotated[
        int,
        "requests that may wait in line for a model, one caller's half as many; more are refused "
        "with 503 or 429",
    ] = 1000
    max_wait: Annotated[float, "seconds a request may wait in line"] = 120.0
    no_resume: Annotated[
        bool, "end a stream whose worker is lost, and let no other worker go on with it"
    ] = False

    def __post_init__(self) -> None:
        ApiConfig.__post_init__(self)
        AccountingConfig.__post_init__(self)
        args.require_port(self.port)
        args.require_positive(self, "max_wait")
        args.require_not_negative(self, "max_waiting")
        KeepingConfig.__post_init__(self)
        args.require_positive(self, "heartbeat_expiry", "connect_timeout", "first_byte_timeout")
        args.require_positive(self, "answer_timeout", "idle_timeout")
        if self.canary_every < 0:
            raise ValueError("--canary-every must not be negative; 0 switches the checks off")
        RegistryConfig.__post_init__(self)
        for address in self.trusted_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError as exc:
                raise ValueError(
                    f"--trust-workers-from takes IP addresses, and {address!r} is none"
                ) from exc

    @property
    def limits_url(self) -> str | None:
        """The Redis that the limits of keys are counted in; None: this process's memory."""
        return self.registry if self.limits_storage is None else self.redis_url

    @property
    def trusted_addresses(self) -> frozenset[str]:
        """The addresses of `--trust-workers-from`."""
        return frozenset(args.names_of(self.trust_workers_from))


@dataclass(frozen=True, kw_only=True)
class MembershipConfig(ApiConfig):
    """Flags of a worker in a cluster: port, controller, queue."""

    port: Annotated[int, "port to listen on"] = 40000
    controller: Annotated[
        tuple[str, ...], "address of a controller to register with", "--controller-address"
    ] = (CONTROLLER,)
    worker: Annotated[
        str | None,
        "address the controller reaches this worker at; default: http://HOST:PORT, or https",
        "--worker-address",
    ] = None
    cluster_token_file: Annotated[
        Path | None, "file with the controller's token; default: the one in the state folder"
    ] = None
    no_register: Annotated[bool, "serve alone, without a controller"] = False
    limit_model_concurrency: Annotated[
        int | None, "answers the model makes at once; default: what the memory holds, at most 16"
    ] = None
    max_waiting: Annotated[int, "answers that may wait for a slot; more are refused with 429"] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        args.require_port(self.port)
        args.require_http(self, "controller", "worker")
        args.require_positive(self, "limit_model_concurrency")
        args.require_not_negative(self, "max_waiting")

    @property
    def worker_address(self) -> str:
        """The address at which the controller reaches this worker."""
        host = f"[{self.host}]" if ":" in self.host else self.host  # IPv6
        return (self.worker or f"{self.scheme}://{host}:{self.port}").rstrip("/")


@dataclass(frozen=True, kw_only=True)
class WorkerConfig(ModelConfig, MediaConfig, MembershipConfig):
    """Serve one LLaVA checkpoint with PyTorch."""

    engine: Annotated[
        Literal["torch", "echo"], "echo repeats the question: the whole stack without weights"
    ] = "torch"

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        MediaConfig.__post_init__(self)
        MembershipConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class WebConfig(ListenConfig, CredentialConfig, PageConfig):
    """Serve the browser page: chat and side-by-side comparison."""

    port: Annotated[int, "port to listen on"] = 7860
    controller: Annotated[
        tuple[str, ...],
        "address of the controller; may be repeated, to go on with the next when one is away",
        *("--controller-url", "--controller-address"),
    ] = (CONTROLLER,)
    database: Annotated[
        str | None, "SQLAlchemy URL of the conversations; default: SQLite in the state folder"
    ] = None

    def __post_init__(self) -> None:
        ListenConfig.__post_init__(self)
        PageConfig.__post_init__(self)
        args.require_port(self.port)
        args.require_http(self, "controller")
