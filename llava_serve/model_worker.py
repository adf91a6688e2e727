"""The model worker's command: settings, a checkpoint in an engine, served."""

import sys
from collections.abc import Sequence

from llava_serve import args, logs
from llava_serve.config import WorkerConfig
from llava_serve.engines.build import build_engine
from llava_serve.errors import ServeError
from llava_serve.worker import process


def main(argv: Sequence[str] | None = None) -> None:
    config = args.parse(WorkerConfig, argv)
    logs.configure(config.log_level)
    try:
        engine = build_engine(config)
    except ServeError as exc:  # a checkpoint that cannot be loaded, or memory too short for it
        sys.stderr.write(f"cannot load {config.model_path}: {exc.message} {exc.remedy}\n")
        raise SystemExit(2) from exc
    process.serve(engine, config, config)


if __name__ == "__main__":
    main()
