"""The command that serves the browser page."""

import logging
import ssl
from collections.abc import Sequence

from llava_serve import args, logs, tiny
from llava_serve.config import MediaConfig, WebConfig
from llava_serve.credential import credential_for
from llava_serve.errors import CommandError, StorageFailed
from llava_serve.http import serving
from llava_serve.http.access import Hosts
from llava_serve.http.hosts import is_loopback
from llava_serve.http.tls import Tls
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.media.reader import MediaReader
from llava_serve.storage.database import make_state_dir
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.tracing.span import Tracer, open_tracer
from llava_serve.web import examples, public_link, uploads
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.folder_limits import FolderLimits
from llava_serve.web.compare.prices import read_prices
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.moderation import Moderation, read_key
from llava_serve.web.operators.rights import Operators
from llava_serve.web.streaming import ActiveReplies
from llava_serve.web.translations.language import Languages

logger = logging.getLogger("llava_serve.gradio_web_server")

# One image of the largest size is decoded at a time: the page shares its machine with workers.
_REMOTE_MEDIA = MediaConfig(
    allow_remote_media=True, max_megapixels_in_flight=MediaConfig.max_image_megapixels
)


def main(argv: Sequence[str] | None = None) -> None:
    config = args.parse(WebConfig, argv)
    logs.configure(config.log_level)
    tls = Tls.of_or_exit(config)
    try:
        make_state_dir(config.state_dir)
        logins = LoginSessions.of(config, config.state_dir)
        serving.bind_or_exit(config.host, config.port).close()  # the uploads of who has it stay
        uploads.use_folder(config.state_dir / "uploads" / str(config.port))
        tracer = open_tracer(config.otlp_endpoint, "page")
        services = _services(config, tls.trust, tracer, logins)
        shown = examples.load(tiny.EXAMPLES, services.media)
    except (StorageFailed, CommandError) as exc:
        raise SystemExit(exc.with_remedy) from exc
    page = build_app(
        services,
        examples=shown,
        embed=config.embed,
        public_link=public_link.opened(config.host, config.port) if config.share else None,
        hosts=hosts_of(config),
    )
    for one in services.languages.catalogues:
        if missing := one.missing():
            logger.warning(
                "%s lacks %d texts: %s", one.name, len(missing), ", ".join(sorted(missing))
            )
    if logins is None and not is_loopback(config.host):
        logger.warning(
            "anybody who reaches %s:%d can use the page; --auth-file makes them sign in",
            config.host,
            config.port,
        )
    serving.allow_many_lookups()
    serving.run(page.app, config.host, config.port, page.before_stop, tls.certificate)


def hosts_of(config: WebConfig) -> Hosts:
    """Return the host names that the page is served under."""
    shared = (public_link.DOMAIN,) if config.share else ()
    return Hosts.of(config.host, (*config.allowed_names, *config.public_names, *shared))


def remote_media_of(config: WebConfig) -> MediaReader | None:
    """Return what fetches images from web addresses; None where nothing may."""
    return MediaReader(_REMOTE_MEDIA) if config.allow_remote_media else None


def _services(
    config: WebConfig,
    trust: ssl.SSLContext,
    tracer: Tracer | None,
    logins: LoginSessions | None,
) -> Services:
    moderation = None
    if config.moderation_key_file is not None:
        moderation = Moderation(read_key(config.moderation_key_file))
    store = Store(config.database or default_url(config.state_dir))
    store.create_tables()
    controllers = args.addresses_of(config.controller)
    return Services(
        link=ControllerLink(
            controllers,
            config.model_list_mode,
            trust,
            [credential_for(one, config.api_key_file, config.state_dir) for one in controllers],
            tracer,
        ),
        store=store,
        media=MediaStore(config.state_dir / "media", config.max_body_bytes),
        moderation=moderation,
        max_body_bytes=config.max_body_bytes,
        logins=logins,
        allow_sharing=config.allow_sharing,
        remote_media=remote_media_of(config),
        operators=Operators.of(config),
        running=ActiveReplies(config.concurrency_count),
        folder_limits=FolderLimits(config.folder_images, config.folder_mb * 1_000_000),
        languages=Languages.of(config.language_file),
        prices=None if config.prices is None else read_prices(config.prices),
    )


if __name__ == "__main__":
    main()
