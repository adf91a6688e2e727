"""Pictures before they are sent: cropped and rotated with their orientation right, by camera."""

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
TURNED_RIGHT = 6  # what EXIF says where the picture is to be turned clockwise to be upright


@pytest.fixture
def quarters(tmp_path: Path) -> Path:
    """200 by 100 upright: red, green above blue, white; stored lying on its side, as cameras do."""
    image = Image.new("RGB", (200, 100))
    for place, colour in {(0, 0): RED, (100, 0): GREEN, (0, 50): BLUE, (100, 50): WHITE}.items():
        image.paste(colour, (*place, place[0] + 100, place[1] + 50))
    exif = Image.Exif()
    exif[0x0112] = TURNED_RIGHT
    image.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "quarters.jpg", quality=100, subsampling=0, exif=exif
    )
    return tmp_path / "quarters.jpg"


async def attach(tab: Tab, *files: Path) -> None:
    await tab.composer.locator("input[type=file]").set_input_files(list(files))
    await expect(tab.composer.locator(".thumbnail-item")).to_have_count(len(files))


async def attached(tab: Tab, number: int) -> Image.Image:
    """Return an attached picture as the server has it."""
    source = await tab.composer.locator(".thumbnail-item img").nth(number).get_attribute("src")
    answer = await tab.page.request.get(source or "")
    return Image.open(io.BytesIO(await answer.body()))


def is_near(image: Image.Image, place: tuple[float, float], colour: tuple[int, int, int]) -> bool:
    pixel = image.convert("RGB").getpixel(
        (int(image.width * place[0]), int(image.height * place[1]))
    )
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel, colour, strict=True))


def crop(tab: Tab) -> Locator:
    return tab.page.get_by_role("dialog", name="Crop and rotate")


@SIZES
async def test_a_picture_is_cropped_and_rotated_by_the_keyboard_and_keeps_its_place(
    browser: Browser,
    stack: Stack,
    quarters: Path,
    shapes: Path,
    size: tuple[int, int],
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await attach(tab, quarters, shapes)
        assert await tab.page.evaluate(SMALL) == []
        await tab.page.get_by_role("button", name="Crop or rotate picture 1").press("Enter")
        await expect(crop(tab)).to_contain_text("200 by 100 pixels")
        async for _ in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
        await crop(tab).get_by_label("Cut left").fill("50")  # green above white
        await expect(crop(tab)).to_contain_text("100 by 100 pixels")
        await crop(tab).get_by_role("button", name="Rotate right").press("Enter")
        await crop(tab).get_by_role("button", name="Use it").press("Enter")
        await expect(crop(tab)).to_be_hidden()
        await expect(tab.textbox).to_be_focused()
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(2)
        first, second = await attached(tab, 0), await attached(tab, 1)
        assert (first.size, second.size) == ((100, 100), (320, 240))
        assert is_near(first, (0.2, 0.5), WHITE) and is_near(first, (0.8, 0.5), GREEN)
        await tab.textbox.fill("what?")
        await tab.textbox.press("Enter")
        await tab.answered()
        await expect(tab.answers).to_contain_text("100")


@SIZES
async def test_a_part_is_chosen_with_the_pointer_and_esc_changes_nothing(
    browser: Browser, stack: Stack, quarters: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await attach(tab, quarters)
        before = await tab.composer.locator(".thumbnail-item img").get_attribute("src")
        edit = tab.page.get_by_role("button", name="Crop or rotate picture 1")
        await edit.click()
        await expect(crop(tab)).to_contain_text("200 by 100 pixels")
        area = await crop(tab).locator("canvas").bounding_box()
        assert area is not None
        await tab.page.mouse.move(area["x"] + 2, area["y"] + area["height"] - 2)
        await tab.page.mouse.down()
        await tab.page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        await tab.page.mouse.up()
        await expect(crop(tab)).not_to_contain_text("200 by 100")
        await tab.page.keyboard.press("Escape")
        await expect(crop(tab)).to_be_hidden()
        images = tab.composer.locator(".thumbnail-item img")
        await expect(images).to_have_attribute("src", before or "")
        await edit.click()
        await crop(tab).get_by_role("button", name="Rotate left").click()
        await crop(tab).get_by_role("button", name="Use it").click()
        # Both are there until the old one goes.
        await expect(tab.composer.locator(f'.thumbnail-item img[src="{before}"]')).to_have_count(0)
        await expect(images).to_have_count(1)
        image = await attached(tab, 0)
        assert image.size == (100, 200)
        assert is_near(image, (0.2, 0.8), RED) and is_near(image, (0.8, 0.2), WHITE)


@SIZES
async def test_a_picture_stays_where_its_crop_cannot_be_attached(
    browser: Browser, stack: Stack, quarters: Path, shapes: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await attach(tab, quarters, shapes)
        await tab.page.route("**/gradio_api/upload*", lambda route: route.abort())
        await cut_left(tab)
        card = tab.composer.page.locator("#chat-composer-refusals .card")
        await expect(card).to_contain_text("nothing was attached")
        await expect(card).to_be_in_viewport()
        assert [(await attached(tab, n)).width for n in range(2)] == [100, 320]  # as it lies
        await tab.page.unroute("**/gradio_api/upload*")
        await tab.page.locator("#chat-composer-refusals .close").click()
        before = await tab.composer.locator(".thumbnail-item img").first.get_attribute("src")
        await cut_left(tab)
        # The last of the old ones to go.
        await expect(tab.composer.locator(f'.thumbnail-item img[src="{before}"]')).to_have_count(0)
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(2)
        assert [(await attached(tab, n)).width for n in range(2)] == [100, 320]
        assert (await attached(tab, 0)).height == 100


async def cut_left(tab: Tab) -> None:
    await tab.page.get_by_role("button", name="Crop or rotate picture 1").click()
    await crop(tab).get_by_label("Cut left").fill("50")
    await crop(tab).get_by_role("button", name="Use it").click()
    await expect(crop(tab)).to_be_hidden()


@SIZES
async def test_the_camera_gives_a_picture_and_is_switched_off(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await tab.page.context.grant_permissions(["camera"])
        await expect(tab.model).to_have_value("echo")
        dialog = tab.page.get_by_role("dialog", name="Camera")
        await tab.page.get_by_role("button", name="Camera").click()
        await expect(dialog.get_by_role("button", name="Take")).to_be_enabled()
        await check(tab)
        await tab.page.evaluate("window.camera = document.querySelector('#camera video').srcObject")
        await dialog.get_by_role("button", name="Take").click()
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        assert await tab.page.evaluate("camera.getTracks().every((t) => t.readyState === 'ended')")
        assert (await attached(tab, 0)).format == "JPEG"


@SIZES
async def test_where_there_is_no_camera_the_button_is_hidden_with_the_reason(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await tab.page.add_init_script(
            "Object.defineProperty(window, 'isSecureContext', {value: false});"
            "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});"
        )
        await tab.page.reload()
        await expect(tab.page.locator("#chat-composer-tools")).to_contain_text("needs https")
        await expect(tab.page.get_by_role("button", name="Camera")).to_have_count(0)
