"""The panel says of each picture and of the prompt what the worker told, and no more."""

import re

import pytest

from llava_serve.protocol.inspection import (
    InspectedFrame,
    InspectedImage,
    InspectedMessage,
    InspectedPrompt,
    InspectedTile,
    InspectedVideo,
    Inspection,
    Padding,
    PromptSegment,
    Rectangle,
)
from llava_serve.storage import filetypes
from llava_serve.storage.media import StoredFile
from llava_serve.web.inspection.panel import panel
from tests.web.conftest import HTML
from tests.web.wordless import wordless, words_left

TIMES = "\N{MULTIPLICATION SIGN}"
PNG = "data:image/png;base64,AAAA"


def box(left: float, top: float, right: float, bottom: float) -> Rectangle:
    return Rectangle(left=left, top=top, right=right, bottom=bottom)


def tile(shows: Rectangle, *, overview: bool = False, pixels: str | None = PNG) -> InspectedTile:
    return InspectedTile(
        overview=overview, shows=shows, filled=box(0, 0, 336, 336), tokens=64, pixels=pixels
    )


def image(*tiles: InspectedTile, kept: Rectangle | None = None) -> InspectedImage:
    return InspectedImage(
        message=0,
        format="JPEG",
        sent_size=(600, 400),
        size=(400, 600),
        decoded_size=(400, 600),
        resized_size=(336, 504),
        kept=kept or box(0, 0, 400, 600),
        padding=Padding(left=0, top=84, right=0, bottom=84),
        canvas_size=(336, 672),
        grid=(1, 2),
        tile_size=(336, 336),
        tiles=list(tiles),
        tokens=1234,
        tile_tokens=1000,
        overview_tokens=200,
        newline_tokens=34,
        cached=True,
    )


TILED = image(
    tile(box(0, 0, 400, 600), overview=True),
    tile(box(0, 0, 400, 300)),
    tile(box(0, 300, 400, 600)),
)
CLIP = InspectedVideo(
    message=0,
    format="MP4",
    sent_size=(640, 480),
    size=(640, 480),
    tile_size=(336, 336),
    frames=[
        InspectedFrame(time_s=1.25, tokens=16, pixels=PNG),
        InspectedFrame(time_s=None, tokens=16),
    ],
    tokens=33,
    newline_tokens=1,
    cached=False,
)


def told(
    *media: InspectedImage | InspectedVideo, text: str = "What?", fits: bool = True
) -> Inspection:
    return Inspection(
        model="m",
        media=list(media),
        prompt=InspectedPrompt(
            segments=[
                PromptSegment(type="template", text="USER: "),
                *(PromptSegment(type="media", media=index) for index in range(len(media))),
                PromptSegment(type="text", text=text),
            ],
            tokens=1300,
            template_tokens=16,
            media_tokens=1234,
            cached_tokens=640,
            messages=[InspectedMessage(role="user", text_tokens=50, media_tokens=1234)],
        ),
        context_length=4096,
        fits=fits,
        tokens_left=2796,
        max_tokens=512,
    )


def file(name: str = "a.jpg") -> tuple[int, StoredFile]:
    return 0, StoredFile("0" * 64, filetypes.BY_EXTENSION["jpg"], 10, name)


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_picture_has_its_sizes_tiles_tokens_and_pixels() -> None:
    html = panel(told(TILED), [file()], 0, reused=600)
    said = words(html)
    assert f"media/{'0' * 64}.jpg" in html
    assert 'viewBox="0 0 400 600"' in html
    assert html.count('class="edge"') == 2  # the overview is no part
    assert 'class="edge" d="M0.0 300.0H400.0V600.0H0.0Z"' in html
    assert html.count(PNG) == 3
    sizes = ("JPEG 600 x 400", "400 x 600", "336 x 504", "1 x 2 tiles of 336 x 336")
    assert [size for size in sizes if size.replace("x", TIMES) not in said] == []
    assert "left 0, top 84, right 0, bottom 84 pixels" in said
    assert "1,234 (tiles 1,000, overview 200, line ends 34)" in said
    assert "Overview 64 tokens" in said and "Tile 2 64 tokens" in said
    assert "in the worker&#x27;s cache" in said


def test_what_was_cropped_away_is_darker_and_told() -> None:
    html = panel(
        told(image(tile(box(0, 100, 400, 500)), kept=box(0, 100, 400, 500))), [file()], 0, None
    )
    assert 'class="lost" fill-rule="evenodd" d="M0.0 0.0H400.0V600.0H0.0ZM0.0 100.0' in html
    assert "33 % of the picture" in html


def test_a_tile_of_nothing_but_padding_is_not_drawn() -> None:
    html = panel(
        told(image(tile(box(0, 0, 400, 600)), tile(box(0, 600, 400, 600)))), [file()], 0, None
    )
    assert html.count('class="edge"') == 1


def test_a_clip_has_its_frames_with_their_times() -> None:
    html = panel(told(CLIP), [file("a.mp4")], 0, None)
    assert "1.2 s 16 tokens" in words(html)
    assert "Frame 2 16 tokens" in words(html)
    assert html.count(PNG) == 1


def test_the_prompt_has_its_places_and_the_context_adds_up() -> None:
    html = panel(told(TILED, CLIP), [file(), file("b.mp4")], 0, reused=600)
    assert "<mark>Picture 1, 1,234 tokens</mark><mark>Video 2, 33 tokens</mark>" in html
    said = words(html)
    assert "1,300 of 4,096 tokens of the context are taken by the prompt; 2,796 are left" in said
    assert "Reused from the cache for this answer: 600 tokens" in said
    shares = [float(share) for share in re.findall(r"width:([\d.]+)%", html)]
    assert len(shares) == 4 and sum(shares) == pytest.approx(100, abs=0.1)


def test_pictures_of_earlier_questions_are_folded() -> None:
    html = panel(told(TILED, TILED), [(0, file()[1]), (1, file()[1])], 1, None)
    assert html.count('<details class="seen" open>') == 1
    assert html.index('<details class="seen">') < html.index('<details class="seen" open>')


def test_what_does_not_fit_is_told() -> None:
    assert "It does not fit." in panel(told(fits=False), [], 0, None)
    without = told().model_copy(update={"prompt": None, "fits": False})
    assert "far longer than the context" in panel(without, [], 0, None)


def test_nothing_of_a_user_or_a_worker_becomes_html() -> None:
    evil = image(tile(box(0, 0, 400, 600), pixels=f'{PNG}" onerror="alert(1)'))
    html = panel(told(evil, text=HTML), [file(f'{HTML}".jpg')], 0, None)
    assert "<img src=http" not in html and 'onerror="' not in html.replace("&quot;", "")
    assert "data:text/html" not in panel(
        told(image(tile(box(0, 0, 4, 6), pixels="data:text/html,x"))), [file()], 0, None
    )


def test_a_long_text_is_cut() -> None:
    html = panel(told(text="x" * 5000), [], 0, None)
    assert "x" * 4001 not in html and "1,000 more characters" in html


def test_every_word_of_it_is_in_the_catalogue() -> None:
    with wordless():
        html = panel(told(TILED, CLIP), [file(), (1, file("b.mp4")[1])], 1, reused=600)
        assert words_left(html) == {"JPEG", "MP", "jpg", "mp", "USER", "What"}
        assert words_left(panel(told(fits=False, text="x" * 5000), [], 0, None)) == {
            *("USER", "x" * 4000)
        }
