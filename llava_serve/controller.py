"""The controller's command: settings, a registry, an app, served."""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from llava_serve import args, logs
from llava_serve.accounts.accounts import Accounts
from llava_serve.accounts.config import asks_for_keys, make_store
from llava_serve.accounts.first_key import make_first_key
from llava_serve.accounts.rates import Rates
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.batches.batch_store import BatchStore
from llava_serve.cluster.files.file_store import FileStore, FileStoreLimits
from llava_serve.cluster.health.canary import CHECK_WITHIN_S
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.shared_state import SharedState, SharedStateAway
from llava_serve.cluster.upstream.upstream import UpstreamLimits
from llava_serve.cluster.waiting.line import LineLimits
from llava_serve.cluster_token import digest, read_token, token_file
from llava_serve.config import ControllerConfig
from llava_serve.errors import CommandError, StorageFailed
from llava_serve.http import serving
from llava_serve.http.access import Access, Hosts
from llava_serve.http.body import BodyLimits
from llava_serve.http.cross_origin import Origins
from llava_serve.http.hosts import address_here, is_loopback
from llava_serve.http.tls import Tls
from llava_serve.media.limits import FileLimits
from llava_serve.storage.database import make_state_dir
from llava_serve.storage.kept_responses import KeptResponses
from llava_serve.tracing.span import open_tracer

_OWNERS = 10  # that may have all of their quota of files
_MOST_PIXELS = 200_000_000  # of an uploaded picture; a worker's own limit is lower

logger = logging.getLogger("llava_serve.controller")


def main(argv: Sequence[str] | None = None) -> None:
    config = args.parse(ControllerConfig, argv)
    logs.configure(config.log_level)
    tls = Tls.of_or_exit(config)
    path = token_file(config.cluster_token_file, config.state_dir)
    policy = AdmissionPolicy(read_token(path), config.trusted_addresses)
    logger.info("workers register with the cluster token in %s", path)
    if policy.addresses:
        logger.warning(
            "workers at %s may register without the token, on LLaVA's own wire",
            ", ".join(sorted(policy.addresses)),
        )
    if config.no_auth and not is_loopback(config.host):
        logger.warning(
            "--no-auth at --host %s: whoever reaches port %d can use every model%s. Registering a "
            "worker takes the token.",
            config.host,
            config.port,
            ", see the workers and read the metrics" if config.public_metrics else "",
        )
    workers = Registry(
        DISPATCH[config.dispatch_method],
        config.heartbeat_expiry,
        check_within_s=CHECK_WITHIN_S if config.canary_every else 0.0,
        serve_blind=config.serve_blind,
    )
    app = build_app(workers, policy, _settings(config, policy.token, tls.trust))
    serving.allow_many_lookups()
    serving.run(app, config.host, config.port, certificate=tls.certificate)


def _settings(
    config: ControllerConfig, token: str, trust: ssl.SSLContext | None
) -> ControllerSettings:
    state = _shared_state(config, token)
    tracer = open_tracer(config.otlp_endpoint, "controller")
    asks = asks_for_keys(config, config.host)
    accounts = _accounts(config, asks)  # last: it shows a first key once
    files = _files(config)
    return ControllerSettings(
        limits=UpstreamLimits(
            connect_s=config.connect_timeout,
            first_byte_s=config.first_byte_timeout,
            answer_s=config.answer_timeout,
            idle_s=config.idle_timeout,
        ),
        waiting=LineLimits(max_waiting=config.max_waiting, max_wait_s=config.max_wait),
        access=Access(
            hosts=Hosts.of(config.host, config.allowed_names),
            token=token,
            origins=Origins.of(config.origins),
            is_public=config.public_metrics,
            find_key=accounts.keys.find if accounts and asks else None,
        ),
        accounts=accounts,
        responses=_responses(config),
        files=files,
        batches=None if files is None else BatchStore(_files_dir(config) / "batches"),
        state=state,
        bodies=BodyLimits(config.max_body_bytes, config.max_text_bytes),
        resumes=not config.no_resume,
        trust=trust,
        canary_every_s=config.canary_every,
        tracer=tracer,
    )


def _accounts(config: ControllerConfig, asks: bool) -> Accounts | None:
    """Return keys, limits and audit where there are any, after the first key is made."""
    if not (asks or config.audit):
        return None
    try:
        rates = Rates(config.limits_url)
    except ValueError as exc:
        raise SystemExit(f"--limits-storage: {exc}") from exc
    try:
        store = make_store(config.state_dir, config.database)
        if asks:  # last: the first key is shown once
            address = address_here(config.host, config.port, config.scheme)
            make_first_key(store, config.state_dir, address)
    except StorageFailed as exc:
        raise SystemExit(exc.with_remedy) from exc
    return Accounts(store, rates, is_audited=config.audit)


def _responses(config: ControllerConfig) -> KeptResponses | None:
    """Return the place of responses that are kept; None: none is."""
    if not config.keep_responses_days:
        return None
    try:
        if config.database is None:
            make_state_dir(config.state_dir)
        file = f"sqlite:///{config.state_dir / 'responses.sqlite'}"
        kept = KeptResponses(config.database or file, config.keep_responses_days)
        kept.create_tables()
    except StorageFailed as exc:
        raise SystemExit(exc.with_remedy) from exc
    return kept


def _files(config: ControllerConfig) -> FileStore | None:
    """Return where uploaded pictures are kept; None: nowhere."""
    if not config.files_quota_mb:
        return None
    owner_bytes = int(config.files_quota_mb * 1e6)
    limits = FileStoreLimits(
        owner_bytes=owner_bytes,
        total_bytes=_OWNERS * owner_bytes,
        expiry_s=config.files_expiry_h * 3600,
        file=FileLimits(config.max_body_bytes, _MOST_PIXELS),
    )
    return FileStore(_files_dir(config), limits)


def _files_dir(config: ControllerConfig) -> Path:
    return config.files_dir or config.state_dir / "files"


def _shared_state(config: ControllerConfig, token: str) -> SharedState | None:
    """Return what the controllers of this cluster share; None: there is this one only."""
    if config.registry is None:
        return None
    # A quarter of a second to import.
    from llava_serve.cluster.sharing.redis_state import RedisState, check_login

    try:
        state = RedisState(config.registry, f"llava_serve:{digest(token)}")
    except ValueError as exc:
        raise SystemExit(f"--registry: {exc}") from exc
    try:
        check_login(config.registry)
    except SharedStateAway as exc:
        logger.warning("alone until the registry answers, still trying: %s", exc)
    except CommandError as exc:
        raise SystemExit(f"--registry: {exc.with_remedy}") from exc
    else:
        logger.info("one registry with the controllers at %s that have this token", state.where)
    return state


if __name__ == "__main__":
    main()
