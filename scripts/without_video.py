"""Lets transformers' processors do without their video part, which needs torchvision.

Run as a program it is `transformers serve`: `python scripts/without_video.py PATH --port 8000`.
Nothing else of transformers is changed; where torchvision is installed nothing is changed at all.
"""

import sys
from typing import Any

import transformers
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.utils.import_utils import is_torchvision_available


def allow() -> None:
    """From now on a processor takes None for its video part where it cannot have one."""
    if is_torchvision_available():
        return
    processors: Any = transformers.ProcessorMixin
    check = processors.check_argument_for_proper_class

    def lenient(self: Any, name: str, argument: Any) -> Any:
        return None if argument is None else check(self, name, argument)

    processors.check_argument_for_proper_class = lenient
    loader: Any = AutoVideoProcessor
    loader.from_pretrained = staticmethod(lambda *_, **__: None)


if __name__ == "__main__":
    allow()
    from transformers.cli.transformers import main

    sys.argv[1:1] = ["serve"]
    main()  # type: ignore[no-untyped-call]
