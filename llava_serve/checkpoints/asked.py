"""What the flags ask of a loader, whatever layout the checkpoint has."""

from dataclasses import dataclass

from llava_serve.checkpoints.precision import Precision


@dataclass(frozen=True, slots=True)
class Asked:
    """`conv_mode` and `aspect` are None where the checkpoint itself decides.

    `slots` is how many answers will be made at once.
    """

    precision: Precision
    name: str
    conv_mode: str | None = None
    aspect: str | None = None
    slots: int = 1
