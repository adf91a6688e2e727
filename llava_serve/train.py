"""The command `python -m llava_serve.train`: a LLaVA learns from conversations about pictures.

The first word says what is trained: `pretrain` the projector alone, `finetune` all but the vision
tower, `lora` an adapter. Without it LLaVA's flags say so, as in its published scripts.

Exit codes: 0 done; 2 a flag, the model or the data are wrong, or the training cannot go on; 130 it
was interrupted, and the same command goes on from the last checkpoint.
"""

import sys
from collections.abc import Sequence

from llava_serve import logs
from llava_serve.errors import ServeError


def main(argv: Sequence[str] | None = None) -> int:
    # These import torch and transformers.
    from llava_serve.training.command_line import parse_flags
    from llava_serve.training.run import run

    logs.configure("info")
    try:
        run(parse_flags(sys.argv[1:] if argv is None else argv))
    except ServeError as exc:
        sys.stderr.write(f"{exc.with_remedy}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last checkpoint\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
