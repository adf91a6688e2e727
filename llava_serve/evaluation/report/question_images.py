"""Images of chosen questions of a task, small enough to stand in a page."""

from collections.abc import Collection, Mapping

from llava_serve.errors import ServeError
from llava_serve.evaluation.image_pool import read
from llava_serve.evaluation.question import Medium, Question
from llava_serve.evaluation.task import Task
from llava_serve.media.decode import decode_image
from llava_serve.media.limits import FileLimits
from llava_serve.media.thumbnail import thumbnail_uri
from llava_serve.media.video import decode_video

LARGEST = 320  # pixels of the longer side
_MOST = 4  # images of one question that are shown
_LIMITS = FileLimits(file_bytes=100_000_000, pixels=100_000_000)

Thumbnails = Mapping[int, list[str]]  # data URIs by the index of the question


def thumbnails_of(question: Question) -> list[str]:
    """Return data URIs of a question's first images; of a video its first frame stands.

    What cannot be read is left out: the page says that there is nothing to see.
    """
    media = [medium for turn in question.turns for medium in turn.media]
    return [uri for medium in media[:_MOST] if (uri := _thumbnail(medium)) is not None]


def find_thumbnails(task: Task, wanted: Collection[int]) -> Thumbnails:
    """Walk through the task as far as the last wanted question.

    Raises:
        CommandError: as `Task.questions` does.
    """
    found: dict[int, list[str]] = {}
    if not wanted:
        return found
    last = max(wanted)
    for index, question in enumerate(task.questions()):
        if index in wanted:
            found[index] = thumbnails_of(question)
        if index >= last:
            break
    return found


def _thumbnail(medium: Medium) -> str | None:
    try:
        data = read(medium)
        if medium.kind == "video":
            image = decode_video(data, 1, _LIMITS).frames[0].image
        else:
            image = decode_image(data, _LIMITS).image
    except ServeError:
        return None
    return thumbnail_uri(image, LARGEST)
