"""Settings of each command, a frozen dataclass: its documentation, its flags, its validation.

The terminal's are in `terminal/config.py`, launch's in `launching/config.py`, those of the SGLang
worker in `engines/sglang/config.py`.

Where LLaVA's own command spells a flag differently, the spelling stands behind the help.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from llava_serve import args
from llava_serve.key_config import AccountingConfig, KeyConfig
from llava_serve.registry_config import RegistryConfig
from llava_serve.tiny import CHECKPOINT
from llava_serve.tls_config import TlsConfig

STATE = Path.home() / ".local" / "state" / "llava_serve"
CONTROLLER = "http://127.0.0.1:10000"

_PILLOW_MEGAPIXELS = 178  # Pillow itself refuses larger pictures

LogLevel = Literal["debug", "info", "warning", "error"]
OtlpEndpoint = Annotated[
    str | None, "address of an OpenTelemetry collector (OTLP over HTTP) that gets traces"
]


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Log level of every command."""

    log_level: Annotated[LogLevel, "least severe message to log"] = "info"


@dataclass(frozen=True, kw_only=True)
class StateConfig(LogConfig):
    """State folder of the commands that keep files."""

    state_dir: Annotated[Path, "folder of the cluster token, conversations and pictures"] = STATE


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
        super().__post_init__()
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

    public_metrics: Annotated[
        bool,
        "show /metrics, /workers and /docs to everybody, and not to this machine, admin keys and "
        "holders of the cluster's token only",
    ] = False

    def __post_init__(self) -> None:
        ListenConfig.__post_init__(self)
        KeyConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class ControllerConfig(ApiConfig, AccountingConfig, RegistryConfig):
    """Keep the registry of workers and send each request to a live worker that serves its model."""

    port: Annotated[int, "port to listen on"] = 10000
    dispatch_method: Annotated[
        Literal["picture_affine", "shortest_queue", "lottery", "round_robin"],
        "how a worker is chosen: by what it holds in its caches, its load, chance or turn",
    ] = "shortest_queue"
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
class ModelConfig:
    """Flags of the model; the same for the worker and the terminal."""

    model_path: Annotated[str, "folder or hub name of a LLaVA checkpoint"] = str(CHECKPOINT)
    model_base: Annotated[str | None, "folder or hub name an adapter was trained on"] = None
    model_name: Annotated[str | None, "name to serve under; default: from the path"] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], "where the model runs; auto: cuda, mps, cpu"
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        "precision of the weights; auto: the checkpoint's on an accelerator, float32 on a CPU",
    ] = "auto"
    load_8bit: Annotated[bool, "quantise the language model to 8 bits"] = False
    load_4bit: Annotated[bool, "quantise the language model to 4 bits"] = False
    num_gpus: Annotated[int, "CUDA devices the layers are spread over"] = 1
    max_gpu_memory: Annotated[
        str | None, "most memory for weights on each GPU, like 20GiB; default: what is free"
    ] = None
    use_flash_attn: Annotated[
        bool, "use FlashAttention 2 in the vision tower (CUDA, flash-attn installed)"
    ] = False
    conv_mode: Annotated[
        str | None, "conversation template to use instead of the checkpoint's own"
    ] = None
    image_aspect_ratio: Annotated[
        str | None,
        "how a checkpoint in LLaVA's original layout fits pictures instead of as its config says: "
        "square, pad, anyres or anyres_max_N",
    ] = None
    kv_cache_tokens: Annotated[
        int | None, "tokens the KV cache holds for all requests; default: from free memory"
    ] = None
    prefill_chunk: Annotated[
        int | None,
        "tokens of new prompts read per step while answers run: less keeps those quicker; default: "
        "what the machine reads in a twentieth of a second",
    ] = None

    def __post_init__(self) -> None:
        args.require_positive(self, "num_gpus", "prefill_chunk", "kv_cache_tokens")
        if self.max_gpu_memory is not None:
            args.bytes_of(self.max_gpu_memory)
        if self.load_8bit and self.load_4bit:
            raise ValueError("--load-8bit and --load-4bit exclude each other")


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Limits of images and videos; the same for the worker and the terminal."""

    max_image_mb: Annotated[float, "largest picture or video file, in 10^6 bytes"] = 20.0
    max_image_megapixels: Annotated[float, "largest picture, in 10^6 pixels"] = 50.0
    max_megapixels_in_flight: Annotated[
        float,
        "10^6 pixels of pictures and frames in memory at once: requests wait for room, and one may "
        "have as many",
    ] = 200.0
    max_images: Annotated[int, "most pictures and videos in one request"] = 16
    num_frames: Annotated[int, "frames sampled from a video when the request does not say"] = 8
    max_frames: Annotated[int, "most frames a request may ask for"] = 64
    allow_remote_media: Annotated[bool, "fetch http(s) addresses of public hosts"] = False

    def __post_init__(self) -> None:
        args.require_positive(self, "max_image_mb", "max_image_megapixels", "max_images")
        args.require_positive(self, "max_megapixels_in_flight", "num_frames", "max_frames")
        if self.max_image_megapixels > _PILLOW_MEGAPIXELS:
            raise ValueError(f"--max-image-megapixels must not exceed {_PILLOW_MEGAPIXELS}")
        if self.max_megapixels_in_flight < self.max_image_megapixels:
            raise ValueError("--max-megapixels-in-flight must hold --max-image-megapixels")
        if self.num_frames > self.max_frames:
            raise ValueError("--num-frames must not exceed --max-frames")


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
class WebConfig(ListenConfig):
    """Serve the browser page: chat and side-by-side comparison."""

    port: Annotated[int, "port to listen on"] = 7860
    controller: Annotated[
        tuple[str, ...],
        "address of the controller; may be repeated, to go on with the next when one is away",
        *("--controller-url", "--controller-address"),
    ] = (CONTROLLER,)
    model_list_mode: Annotated[
        Literal["once", "reload"], "ask for the models once, or again and again"
    ] = "reload"
    concurrency_count: Annotated[
        int, "questions answered at once, a comparison being one; more wait in line"
    ] = 16
    share: Annotated[bool, "open a public link through Gradio's servers"] = False
    moderate: Annotated[bool, "check each question with OpenAI's moderation first"] = False
    moderation_key_file: Annotated[Path | None, "file with the OpenAI key for --moderate"] = None
    api_key_file: Annotated[
        Path | None,
        "file with an API key for --controller; default: the cluster's token, where the "
        "controller is on this machine",
    ] = None
    embed: Annotated[bool, "leave out title and footer, for embedding in a page"] = False
    database: Annotated[
        str | None, "SQLAlchemy URL of the conversations; default: SQLite in the state folder"
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        args.require_port(self.port)
        args.require_http(self, "controller")
        args.require_positive(self, "concurrency_count")
        if self.moderate and self.moderation_key_file is None:
            raise ValueError("--moderate needs --moderation-key-file")
        if self.moderation_key_file is not None and not self.moderate:
            raise ValueError("--moderation-key-file has no effect without --moderate")
