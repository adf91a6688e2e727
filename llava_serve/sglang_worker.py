"""Command of the SGLang worker: serves what an SGLang server answers."""

import sys
from collections.abc import Sequence

from llava_serve import args, logs
from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import template_named
from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.engines.sglang.engine import SglangEngine
from llava_serve.engines.sglang.server import Server
from llava_serve.http.tls import Tls
from llava_serve.worker.lifecycle import serve


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the SGLang server at `--sgl-endpoint`."""
    config = args.parse(SglangWorkerConfig, argv)
    logs.configure(config.log_level)
    try:
        form = from_template(template_named(config.conv_mode)) if config.conv_mode else None
    except ValueError as exc:
        sys.stderr.write(f"--conv-mode: {exc}\n")
        raise SystemExit(2) from exc
    client = SglangClient(config.sgl_endpoint, Tls.of_or_exit(config).trust)
    server = Server(client, config.model_name, uses_template=form is None)
    serve(SglangEngine(client, server, form), config, config, watch=server)


if __name__ == "__main__":
    main()
