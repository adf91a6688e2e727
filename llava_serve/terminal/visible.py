"""Text of others made harmless to a terminal: it is shown, never obeyed."""

from llava_serve.terminal.typed import words_of

# Unicode's own pictures of the control characters: an escape sequence becomes readable text.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_C1 = dict.fromkeys(range(0x80, 0xA0), 0xFFFD)  # some terminals read these as escape sequences
_VISIBLE = {**_PICTURES, 0x7F: 0x2421, **_C1}


def visible(text: str) -> str:
    """Return `text` with each control character, except line feed and tab, as a picture of it.

    Bytes that are no text, as in names of files, show as U+FFFD.
    """
    return words_of(text).translate(_VISIBLE)
