"""Check of training data before the first step: what is broken, and how long the rest is."""

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import PIL.Image

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import Size
from llava_serve.errors import BadRequest, CommandError
from llava_serve.request import Image, Video
from llava_serve.training.feature_rows import FeatureRows
from llava_serve.training.labels import AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.mixture import Mixture
from llava_serve.training.sample import BrokenSample, TrainingSample

_SHOWN_FAULTS = 20
_WAITING = 4  # samples a thread, decoded or to be decoded
_STAND_IN = Image(PIL.Image.new("1", (1, 1)), "")


@dataclass(frozen=True, slots=True)
class DataFault:
    """A sample that cannot be trained on: where it is, by file and line or entry, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class MediumSize:
    """The (width, height) of an image, or the number of frames of a video."""

    size: Size
    frames: int | None = None


@dataclass(slots=True)
class DataReport:
    """What a check found: the numbers of `broken` samples, and the `lengths` in tokens of others.

    `faults` has the first ones only.
    """

    samples: int = 0
    broken: "array[int]" = field(default_factory=lambda: array("q"))
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    faults: list[DataFault] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.broken)} of {self.samples} samples cannot be trained on"]
        lines += map(str, self.faults)
        if (others := len(self.broken) - len(self.faults)) > 0:
            lines.append(f"and {others} more")
        return "\n".join(lines)

    def require_whole(self) -> None:
        """Raise: CommandError: a sample is broken."""
        if self.broken:
            remedy = "Repair these samples, or leave them out with --skip_broken True."
            raise CommandError(str(self), remedy)


class SampleMeter:
    """Measures samples for one checkpoint that may take `longest` tokens."""

    def __init__(self, loaded: LoadedModel, labeller: AnswerLabeller, longest: int) -> None:
        self._keeps_line_breaks = loaded.format.per_chunk
        self._labeller = labeller
        self._rows = FeatureRows(loaded)
        self._longest = longest

    def length(self, sample: TrainingSample, media: list[MediumSize]) -> int:
        """Return how many tokens and feature rows a sample has.

        Raises:
            BrokenSample: more than the model takes, or the prompt cannot be made.
        """
        shown = [_STAND_IN if each.frames is None else Video((_STAND_IN,)) for each in media]
        said = sample.conversation(shown, keeps_line_breaks=self._keeps_line_breaks)
        try:
            items = self._labeller.label(said).items
        except BadRequest as exc:
            raise BrokenSample(str(exc)) from exc
        tokens = sum(isinstance(item, int) for item in items)
        is_alone = sum(each.frames is None for each in media) == 1
        rows = sum(
            self._rows.of_image(each.size, is_alone=is_alone)
            if each.frames is None
            else self._rows.of_video(each.frames)
            for each in media
        )
        if tokens + rows > self._longest:
            raise BrokenSample(
                f"it has {tokens + rows} tokens, {rows} of them of pictures, and the model takes "
                f"{self._longest}"
            )
        return tokens + rows


def check(
    mixture: Mixture,
    media: MediaFiles,
    meter: SampleMeter,
    on_fault: Callable[[DataFault], None] = lambda _: None,
) -> DataReport:
    """Decode and measure every sample; `on_fault` is told of each that is broken, in order.

    Threads decode; memory holds a few samples at a time, and numbers.
    """
    report = DataReport()
    for index, decoded in enumerate(_decoded(mixture, media)):
        report.samples += 1
        try:
            report.lengths.append(meter.length(*decoded.result()))
        except BrokenSample as exc:
            fault = DataFault(mixture.place(index), str(exc))
            report.broken.append(index)
            if len(report.faults) < _SHOWN_FAULTS:
                report.faults.append(fault)
            on_fault(fault)
    return report


_Decoded = tuple[TrainingSample, list[MediumSize]]


def _decoded(mixture: Mixture, media: MediaFiles) -> Iterator["Future[_Decoded]"]:
    """Yield each sample, in order, with the sizes of its media."""

    def decode(index: int) -> _Decoded:
        sample = mixture.sample(index)
        return sample, [_size_of(media.read(medium)) for medium in sample.media]

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads, thread_name_prefix="check") as pool:
        waiting: deque[Future[_Decoded]] = deque()
        try:
            for index in range(len(mixture)):
                waiting.append(pool.submit(decode, index))
                if len(waiting) > _WAITING * threads:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for each in waiting:
                each.cancel()


def _size_of(medium: Image | Video) -> MediumSize:
    if isinstance(medium, Video):
        return MediumSize(medium.frames[0].image.size, len(medium.frames))
    return MediumSize(medium.image.size)
