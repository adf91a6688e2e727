"""Program that renders pages of a PDF as image files: PDFium is not thread-safe, and may crash.

Its arguments are the PDF, a folder for the images, the most pages, and its own limits: bytes of
memory and seconds of CPU. It prints one line of JSON: how many pages the PDF has, or what is wrong
with it.
"""

import json
import sys
from pathlib import Path

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from llava_serve.limited_process import limit_process

LONG_SIDE_PX = 2000  # 170 dots per inch of A4, at which its footnotes can be read
_MOST_PER_POINT = 300 / 72  # pixels; beyond it a small page shows nothing more
_MOST_PNG_BYTES = 1_000_000  # a scan is smaller as JPEG
_FAST = 1  # level of compression: text takes little more than at 6, and a scan a sixth of the time
_QUALITY = 90
_WRONG = {
    raw.FPDF_ERR_SUCCESS: "empty",
    raw.FPDF_ERR_PASSWORD: "locked",
    raw.FPDF_ERR_SECURITY: "locked",
}


def main() -> None:
    path, folder, most_pages, memory_bytes, cpu_s = sys.argv[1:]
    limit_process(int(memory_bytes), int(cpu_s))
    told: dict[str, int | str]
    try:
        told = {"pages": render(Path(path), Path(folder), int(most_pages))}
    except pypdfium2.PdfiumError as exc:
        told = {"wrong": _WRONG.get(exc.err_code, "damaged")}
    sys.stdout.write(json.dumps(told) + "\n")


def render(path: Path, folder: Path, most_pages: int) -> int:
    """Write `1.png`, or where that is large `1.jpg`, and so on; return how many pages there are.

    Raises:
        pypdfium2.PdfiumError: with the code of what is wrong with the document, None of a page.
    """
    with pypdfium2.PdfDocument(path) as document:
        document.init_forms()  # so that what was filled in is drawn
        for number in range(1, min(len(document), most_pages) + 1):
            _save(_image(document[number - 1]), folder / str(number))
        return len(document)


def _image(page: pypdfium2.PdfPage) -> Image.Image:
    scale = min(LONG_SIDE_PX / max(*page.get_size(), 1), _MOST_PER_POINT)
    image: Image.Image = page.render(scale=scale).to_pil()
    page.close()
    return image


def _save(image: Image.Image, path: Path) -> None:
    png = path.with_suffix(".png")
    image.save(png, compress_level=_FAST)
    if png.stat().st_size > _MOST_PNG_BYTES:
        image.save(path.with_suffix(".jpg"), quality=_QUALITY)
        png.unlink()


if __name__ == "__main__":
    main()
