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
    from llava_serve.training.kept_state import last_checkpoint
    from llava_serve.training.run import run

    logs.configure("info")
    try:
        flags = parse_flags(sys.argv[1:] if argv is None else argv)
        try:
            run(flags)
        except KeyboardInterrupt:
            begun = last_checkpoint(flags.output)
            goes_on = "begins anew: no checkpoint was written yet (--save_steps)"
            goes_on = goes_on if begun is None else f"goes on from {begun}"
            sys.stderr.write(f"interrupted; the same command {goes_on}\n")
            return 130
    except ServeError as exc:
        sys.stderr.write(f"{exc.with_remedy}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
