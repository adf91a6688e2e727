"""Media files of training data, decoded under the limits of serving."""

from dataclasses import dataclass, replace
from pathlib import Path

from llava_serve.errors import BadRequest
from llava_serve.media.decode import decode_image
from llava_serve.media.limits import FileLimits, check_bytes
from llava_serve.media.video import decode_video
from llava_serve.request import Image, Video
from llava_serve.training.sample import BrokenSample, SampleMedium


@dataclass(frozen=True, slots=True)
class MediaFiles:
    """Reads what samples name, by its path below `image_folder` or `video_folder`.

    Of a video `num_frames` are taken, evenly spaced. One of fewer frames shows some of them several
    times, because all videos of a batch must have as many.
    """

    image_folder: Path
    video_folder: Path
    limits: FileLimits
    num_frames: int

    def read(self, medium: SampleMedium) -> Image | Video:
        """Decode a file; safe to call from any thread.

        Raises:
            BrokenSample: it is not there, is damaged, or goes beyond the limits.
        """
        is_image = medium.kind == "image"
        path = (self.image_folder if is_image else self.video_folder) / medium.path
        try:
            check_bytes(path.stat().st_size, self.limits.file_bytes)
            data = path.read_bytes()
            if is_image:
                return decode_image(data, self.limits)
            return self._filled(decode_video(data, self.num_frames, self.limits))
        except (OSError, ValueError) as exc:  # a path may hold what no file system takes
            raise BrokenSample(f"{path} cannot be read: {exc}") from exc
        except BadRequest as exc:
            raise BrokenSample(f"{path}: {exc}") from exc

    def _filled(self, video: Video) -> Video:
        there = len(video.frames)
        numbers = (i * there // self.num_frames for i in range(self.num_frames))
        return replace(video, frames=tuple(video.frames[i] for i in numbers))
