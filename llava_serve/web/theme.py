"""Theme of the page: colours, icons, and fonts of the system, so that nothing is fetched."""

from urllib.parse import quote

import gradio as gr

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")


def build() -> gr.themes.Base:
    """Return the theme, light and dark."""
    return gr.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_shadow="none",
        # Each text has a contrast of 4.5 to what it stands on; Gradio's own greys have half of it.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
        color_accent="*primary_700",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_visited="*primary_800",
        link_text_color_visited_dark="*primary_200",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )


# Lines on a field of 24 by 24.
_DRAWINGS = {
    "up": '<path d="M7 11v9H4v-9zM7 11l4-8a2 2 0 0 1 3 2l-1 5h5a2 2 0 0 1 2 2.4l-1.4 6A2 2 0 0 1 '
    '16.7 20H7"/>',
    "down": '<path d="M17 13V4h3v9zM17 13l-4 8a2 2 0 0 1-3-2l1-5H6a2 2 0 0 1-2-2.4l1.4-6A2 2 0 0 1 '
    '7.3 4H17"/>',
    "flag": '<path d="M5 21V4h13l-3 4.5 3 4.5H5"/>',
    "again": '<path d="M20 12a8 8 0 1 1-2.6-5.9L20 8.5M20 3v5.5h-5.5"/>',
    "more": '<path d="M4 12h15M13 6l6 6-6 6"/>',
    "edit": '<path d="M4 20h4L19.5 8.5l-4-4L4 16zM13 7l4 4"/>',
    "clear": '<path d="M6 6l12 12M18 6L6 18"/>',
    "undo": '<path d="M9 4L4 9l5 5M4 9h10a5.5 5.5 0 0 1 0 11h-4"/>',
    "list": '<path d="M4 6h16M4 12h16M4 18h10"/>',
    "before": '<path d="M15 5l-7 7 7 7"/>',
    "after": '<path d="M9 5l7 7-7 7"/>',
    "eye": '<path d="M2 12s3.5-7 10-7 10 7 10 7-3.5 7-10 7S2 12 2 12z"/><circle cx="12" cy="12" '
    'r="3"/>',
    "tokens": '<path d="M4 7h5M13 7h7M4 16h8M16 16h4M4 20h8M13 11h7"/>',
    "tie": '<path d="M5 9h14M5 15h14"/>',
}
_ATTRIBUTES = (
    'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round"'
)


def icon(name: str) -> str:
    """Return the drawing, for what has a name of its own: readers of screens pass over it."""
    return f'<svg class="icon" aria-hidden="true" {_ATTRIBUTES}>{_DRAWINGS[name]}</svg>'


def icon_style() -> str:
    """Return the style by which a control of the class `icon-NAME` begins with that icon.

    Gradio takes icons of its buttons as files only, which have colours of their own.
    """
    return "".join(f".icon-{name}::before{{{_mask(name)}}}" for name in _DRAWINGS)


def _mask(name: str) -> str:
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" {_ATTRIBUTES}>{_DRAWINGS[name]}</svg>'
    url = f'url("data:image/svg+xml,{quote(drawing, safe="")}")'
    return f"-webkit-mask-image:{url};mask-image:{url}"
