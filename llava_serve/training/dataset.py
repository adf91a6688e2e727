"""Data set of a training: each sample as tokens, labels and tiles, made as serving makes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import Size, Tiles, family_of
from llava_serve.request import Image, Video
from llava_serve.training.feature_rows import FeatureRows
from llava_serve.training.labels import IGNORED, AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.mixture import Mixture


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """A sample ready for a batch.

    `input_ids` and `labels` are int64 (length,), with the token of an image, or of a video, for
    each of its feature rows. `tiles` are float32 (tiles, 3, height, width) of each image, `sizes`
    their (width, height), and `frames` float32 (frames, 3, height, width) of each video.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    tiles: tuple[Tiles, ...]
    sizes: tuple[Size, ...]
    frames: tuple[torch.Tensor, ...]


class TrainingDataset(Dataset[PreparedSample]):
    """Samples of a mixture by their number; the same number always gives the same.

    `lengths` are those that `check` found, in tokens and feature rows, for batches of samples that
    are about as long.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        mixture: Mixture,
        media: MediaFiles,
        labeller: AnswerLabeller,
        lengths: Sequence[int],
    ) -> None:
        self.lengths = lengths
        self._loaded = loaded
        self.mixture = mixture
        self._media = media
        self._labeller = labeller
        self._rows = FeatureRows(loaded)
        self._image_token, self._video_token = placeholders_of(loaded)

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, index: int) -> PreparedSample:
        """Prepare a sample.

        Raises:
            BrokenSample: it cannot be trained on, as `check` says of it too.
            BadRequest: its prompt cannot be made.
        """
        sample = self.mixture.sample(index)
        media = [self._media.read(medium) for medium in sample.media]
        keeps_line_breaks = self._loaded.format.per_chunk
        prompt = self._labeller.label(
            sample.conversation(media, keeps_line_breaks=keeps_line_breaks)
        )
        shown = [item for item in prompt.items if not isinstance(item, int)]
        images = [item for item in shown if isinstance(item, Image)]
        videos = [item for item in shown if isinstance(item, Video)]
        is_alone = len(images) == 1
        ids: list[int] = []
        labels: list[int] = []
        for item, label in zip(prompt.items, prompt.labels, strict=True):
            tokens = [item] if isinstance(item, int) else self._placeholders(item, is_alone)
            ids += tokens
            labels += [label] if isinstance(item, int) else [IGNORED] * len(tokens)
        pixels = [image.image for image in images]
        tiles = family_of(self._loaded).tiles(self._loaded, pixels, is_alone) if pixels else []
        return PreparedSample(
            torch.tensor(ids),
            torch.tensor(labels),
            tuple(tiles),
            tuple(image.size for image in pixels),
            tuple(self._frames(video) for video in videos),
        )

    def _placeholders(self, medium: Image | Video, is_alone: bool) -> list[int]:
        if isinstance(medium, Video):
            return [self._video_token] * self._rows.of_video(len(medium.frames))
        return [self._image_token] * self._rows.of_image(medium.image.size, is_alone=is_alone)

    def _frames(self, video: Video) -> torch.Tensor:
        assert self._loaded.frames is not None  # the prompt could not be made otherwise
        return self._loaded.frames([frame.image for frame in video.frames])


def placeholders_of(loaded: LoadedModel) -> tuple[int, int]:
    """Return the tokens that stand where features of images and of videos go.

    Transformers' models look for those of their configuration. A checkpoint in LLaVA's own layout
    has none; the negative ones that stand for them are for `embedded` alone.
    """
    image, video = loaded.image_token_id, loaded.video_token_id
    return image, image - 1 if video is None else video
