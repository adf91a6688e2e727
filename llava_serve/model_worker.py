"""Command of the model worker: loads a checkpoint into an engine and serves it."""

import sys
from collections.abc import Sequence

from llava_serve import args, logs
from llava_serve.config import WorkerConfig
from llava_serve.engines.build import build_engine
from llava_serve.errors import CheckpointError, ServeError
from llava_serve.http.tls import Tls
from llava_serve.worker.lifecycle import require_token, serve


def main(argv: Sequence[str] | None = None) -> None:
    """Load the checkpoint and serve it; exits with code 2 when it cannot be loaded."""
    config = args.parse(WorkerConfig, argv)
    logs.configure(config.log_level)
    # Before the checkpoint, which takes minutes, is loaded.
    require_token(config)
    Tls.of_or_exit(config)
    try:
        engine = build_engine(config, kind=config.engine, slots=config.limit_model_concurrency)
    except CheckpointError as exc:  # its message says what to do
        raise SystemExit(_failed(f"cannot load {config.model_path}: {exc.message}")) from exc
    except ServeError as exc:  # the warm-up failed, as when memory is short
        raise SystemExit(_failed(exc.with_remedy)) from exc
    serve(engine, config, config)


def _failed(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return 2


if __name__ == "__main__":
    main()
