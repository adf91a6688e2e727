"""Controls show other images in place of a question's own, or gray ones of the same size."""

import io
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import CommandError, MediaUnreadable
from llava_serve.evaluation.image_changes import show_of
from llava_serve.evaluation.image_pool import MOST, ImagePool
from llava_serve.evaluation.question import Medium
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video
from tests.evaluation.answering import write_image
from tests.media.filmed import video_file

LIMITS = FileLimits(10**7, 10**7)


def images_of(folder: Path, count: int) -> list[Medium]:
    return [
        Medium(write_image(folder / f"{number}.png", (8 + number, 8))) for number in range(count)
    ]


def pool_of(*media: Medium) -> ImagePool:
    pool = ImagePool()
    for medium in media:
        pool.offer(medium)
    pool.seal()
    return pool


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def test_the_original_files_are_shown_byte_by_byte(tmp_path: Path) -> None:
    (medium,) = images_of(tmp_path, 1)
    shown = show_of("original", ImagePool())([medium, Medium(b"in the file")])
    assert shown == [(tmp_path / "0.png").read_bytes(), b"in the file"]


def test_a_swapped_image_is_never_its_own_and_always_the_same(tmp_path: Path) -> None:
    media = images_of(tmp_path, 20)
    show, again = show_of("swapped", pool_of(*media)), show_of("swapped", pool_of(*media[::-1]))
    for medium in media:
        (shown,) = show([medium])
        assert shown != medium.source.read_bytes()  # type: ignore[union-attr]
        assert again([medium]) == [shown]
    assert len({show([medium])[0] for medium in media}) > 5


def test_a_copy_under_another_name_is_no_other_image(tmp_path: Path) -> None:
    first, second = images_of(tmp_path, 2)
    data = (tmp_path / "0.png").read_bytes()
    (tmp_path / "copy.png").write_bytes(data)
    show = show_of("swapped", pool_of(first, second, Medium(tmp_path / "copy.png"), Medium(data)))
    for medium in (first, Medium(tmp_path / "copy.png"), Medium(data)):
        assert show([medium]) == [(tmp_path / "1.png").read_bytes()]


def test_images_of_one_question_do_not_change_places(tmp_path: Path) -> None:
    media = images_of(tmp_path, 4)
    show = show_of("swapped", pool_of(*media))
    own = [(tmp_path / f"{number}.png").read_bytes() for number in range(4)]
    shown = show(media[:2])
    assert sorted(shown) == sorted(own[2:])
    assert all(one != other for one, other in zip(show(media[:3]), own, strict=False))


def test_the_pool_is_bounded(tmp_path: Path) -> None:
    media = [Medium(b"%d" % number) for number in range(3 * MOST)]
    show = show_of("swapped", pool_of(*media))
    assert len({show([medium])[0] for medium in media}) <= MOST
    large = [Medium(bytes([number]) * (1 << 20)) for number in range(100)]
    show = show_of("swapped", pool_of(*large))
    assert len({show([medium])[0] for medium in large}) <= 32


def test_videos_are_swapped_for_videos(tmp_path: Path) -> None:
    films = [Medium(video_file(frames=frames), "video") for frames in (3, 4)]
    show = show_of("swapped", pool_of(*images_of(tmp_path, 3), *films))
    assert show(films[:1]) == [films[1].source]


@pytest.mark.parametrize("count", [0, 1])
def test_where_there_is_no_other_image_nothing_is_swapped(count: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="swapped" if count == 0 else "only one image"):
        pool_of(*images_of(tmp_path, count))


def test_a_gray_image_has_the_size_that_the_original_is_seen_in(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    show = show_of("gray", ImagePool())
    plain, turned = show([*images_of(tmp_path, 1), Medium(tmp_path / "turned.jpg")])
    assert (size_of(plain), size_of(turned)) == ((8, 8), (20, 30))
    with Image.open(io.BytesIO(plain)) as image:
        assert image.convert("RGB").getcolors() == [(64, (128, 128, 128))]


def test_a_gray_video_has_the_frames_of_the_original() -> None:
    film = Medium(video_file(frames=7, size=(64, 32)), "video")
    (shown,) = show_of("gray", ImagePool())([film])
    frames = decode_video(shown, 32, LIMITS).frames
    assert len(frames) == 7
    assert all(abs(value - 128) < 4 for value in frames[3].image.getpixel((5, 5)))  # type: ignore[union-attr]
    assert frames[0].image.size == (64, 32)


@pytest.mark.parametrize("images", ["original", "gray"])
def test_a_file_that_is_not_there_is_named(images: str, tmp_path: Path) -> None:
    show = show_of(images, ImagePool())  # type: ignore[arg-type]
    with pytest.raises(MediaUnreadable, match=r"cannot read .*gone\.png: No such file"):
        show([Medium(tmp_path / "gone.png")])
