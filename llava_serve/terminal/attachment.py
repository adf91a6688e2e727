"""Attachments of the terminal: a path or a web address becomes a content part of a question."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llava_serve.errors import CommandError, MediaTooLarge, MediaUnreadable, RemoteMediaRefused
from llava_serve.local_path import local_path
from llava_serve.media.data_uri import data_uri
from llava_serve.media.fetch import Fetcher
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.content_part import ImagePart, ImageUrl, VideoPart, VideoUrl
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.history import History
from llava_serve.terminal.text import valid_text


class Attachments:
    """Reads a file whole when it is given, so an error comes with the command that named it."""

    def __init__(self, reader: MediaReader, config: CliConfig) -> None:
        self._reader = reader
        self._limit_bytes = int(config.max_image_mb * 1e6)
        self._num_frames = config.num_frames

    async def image(self, source: str) -> ImagePart:
        """Read an image.

        Raises:
            ServeError: it cannot be read or fetched, or is not an acceptable picture.
        """
        with _named_in_errors(source):
            uri = await self._data_uri(source)
            await self._reader.image(uri)
        return ImagePart(type="image_url", image_url=ImageUrl(url=uri))

    async def video(self, source: str) -> VideoPart:
        """Read a video; see `image`."""
        with _named_in_errors(source):
            uri = await self._data_uri(source)
            await self._reader.video(uri, self._num_frames)
        video_url = VideoUrl(url=uri, num_frames=self._num_frames)
        return VideoPart(type="video_url", video_url=video_url)

    async def _data_uri(self, source: str) -> str:
        is_address = source.lower().startswith(("http://", "https://"))
        data = await self._fetch(source) if is_address else self._read(source)
        return data_uri(data)

    async def _fetch(self, address: str) -> bytes:
        # The user asks for it on their own machine: addresses of their network are allowed.
        async with Fetcher(self._limit_bytes, is_allowed=lambda _: True) as fetcher:
            try:
                return await fetcher.fetch(address)
            except RemoteMediaRefused as exc:
                raise CommandError(
                    f"{address}: {exc}", "Check the address, or save the file and give its path."
                ) from exc

    def _read(self, path: str) -> bytes:
        try:
            with local_path(path).open("rb") as file:
                data = file.read(self._limit_bytes + 1)
        except OSError as exc:
            raise CommandError(
                f"cannot read {path}: {exc.strerror or exc}",
                f"Give a file's path, from {Path.cwd()} or absolute, or a web address.",
            ) from exc
        if len(data) > self._limit_bytes:
            raise MediaTooLarge(
                f"more than the {self._limit_bytes / 1e6:g} MB that --max-image-mb allows"
            )
        return data


@contextmanager
def _named_in_errors(source: str) -> Iterator[None]:
    """Put `source` in front of the message of an error about it."""
    try:
        yield
    except (MediaUnreadable, MediaTooLarge) as exc:
        raise type(exc)(f"{source}: {exc}") from exc


async def initial_history(config: CliConfig) -> History:
    """Read what --image-file, --video-file and --system give; needs no model, so it comes first.

    Raises:
        ServeError: a file cannot be read, or is no picture or video.
    """
    history = History(system=config.system and valid_text(config.system))
    async with MediaReader(config) as reader:
        attachments = Attachments(reader, config)
        for source in config.image_file:
            history = history.with_media(await attachments.image(source))
        for source in config.video_file:
            history = history.with_media(await attachments.video(source))
    return history
