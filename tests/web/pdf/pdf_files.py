"""PDFs that a test needs: of ordinary pages, filled in, locked, empty, and one that never ends."""

import io

from PIL import Image

_HEAD = b"%PDF-1.7\n"


def of_pages(*sizes: tuple[int, int]) -> bytes:
    """A PDF with a page of each (width, height) in points, each filled with its own grey."""
    out = io.BytesIO()
    pages = [Image.new("RGB", size, (40 * at % 256,) * 3) for at, size in enumerate(sizes)]
    pages[0].save(out, "PDF", save_all=True, append_images=pages[1:], resolution=72)
    return out.getvalue()


def noise(side: int = 600) -> bytes:
    """A PDF of one page of random pixels, as a scan is."""
    out = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(out, "PDF", quality=95, resolution=72)
    return out.getvalue()


def locked() -> bytes:
    """A PDF whose password is not the empty one."""
    keys = b"<" + b"41" * 32 + b">"
    encrypt = b"<< /Filter /Standard /V 1 /R 2 /O %b /U %b /P -4 >>" % (keys, keys)
    objects = [_catalog(), _pages(b"3 0 R"), _page(b"<< >>"), encrypt]
    return _written(objects, b"/Encrypt 4 0 R /ID [<00> <00>]")


def filled_in() -> bytes:
    """A PDF whose white page has a form, with a text in its only field."""
    fonts = b"/DR << /Font << /F 6 0 R >> >>"
    form = b"<< /Fields [5 0 R] /NeedAppearances true /DA (/F 12 Tf 0 g) %b >>" % fonts
    catalog = b"<< /Type /Catalog /Pages 2 0 R /AcroForm %b >>" % form
    page = _page(b"<< >>").replace(b"/Type /Page ", b"/Type /Page /Annots [5 0 R] ")
    text = b"/FT /Tx /T (name) /V (MMMMMMM) /F 4 /Rect [10 10 90 90] /DA (/F 12 Tf 0 g)"
    field = b"<< /Type /Annot /Subtype /Widget %b >>" % text
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    return _written([catalog, _pages(b"3 0 R"), page, _stream(b"", b""), field, font])


def without_pages() -> bytes:
    return _written([_catalog(), _pages()])


def endless(levels: int = 12, times: int = 10) -> bytes:
    """A small PDF whose page draws a form `times` times, which draws the next one, and so on."""
    first = 5
    objects = [_catalog(), _pages(b"3 0 R"), _page(_drawing(first)), _stream(b"/F Do", b"")]
    for level in range(first, first + levels):
        form = b"/Type /XObject /Subtype /Form /BBox [0 0 100 100] /Resources " + _drawing(
            level + 1
        )
        objects.append(_stream(b"/F Do " * times, form))
    last = b"/Type /XObject /Subtype /Form /BBox [0 0 100 100]"
    return _written([*objects, _stream(b"0 0 50 50 re f " * 100, last)])


def _catalog() -> bytes:
    return b"<< /Type /Catalog /Pages 2 0 R >>"


def _pages(*kids: bytes) -> bytes:
    return b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(kids), b" ".join(kids))


def _page(resources: bytes) -> bytes:
    size = b"/MediaBox [0 0 100 100]"
    return b"<< /Type /Page /Parent 2 0 R %b /Contents 4 0 R /Resources %b >>" % (size, resources)


def _drawing(number: int) -> bytes:
    return b"<< /XObject << /F %d 0 R >> >>" % number


def _stream(content: bytes, entries: bytes) -> bytes:
    head = b"<< /Length %d %b >>" % (len(content), entries)
    return head + b"\nstream\n" + content + b"\nendstream"


def _written(objects: list[bytes], entries: bytes = b"") -> bytes:
    out, places = _HEAD, []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"<< /Size %d /Root 1 0 R %b >>" % (size, entries)
    xref = b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    return out + xref + b"trailer\n" + trailer + b"\nstartxref\n%d\n%%%%EOF\n" % len(out)
