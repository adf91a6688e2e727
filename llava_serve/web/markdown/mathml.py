"""MathML of a LaTeX formula: elements that neither fetch nor run anything, nor cover the page."""

import html
import re
from functools import lru_cache
from types import MappingProxyType
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

LONGEST = 3000  # characters of a formula
_MOST_ELEMENTS = 2000
_DEEPEST = 60  # elements within elements
_KEPT = 256  # formulas; an answer is rendered again as it grows

# A definition that uses itself twice grows without bound, as do operators within `\sideset`.
_GROWS = re.compile(r"\\(?:newcommand|newenvironment|def|DeclareMathOperator|sideset)(?![a-zA-Z])")
_NO_MACROS = MappingProxyType[str, tuple[list[str], int]]({})  # a definition is an error
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^}]*)\}")
_MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix")
_ENVIRONMENTS = {
    **{name: name for name in (*_MATRICES, "array", "cases", "split", "equation", "equation*")},
    **dict.fromkeys(("align", "align*", "aligned"), "split"),
    **dict.fromkeys(("gather", "gather*", "gathered"), "displaylines"),
    "dcases": "cases",
}
_NOT_EQUAL = re.compile(r"\\not\s*=")  # few fonts have the stroke that is laid over a sign
_ROW_GAP = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\]")

_ESCAPED = frozenset({r"\$", r"\%", r"\#", r"\&", r"\_"})
_TAGS = frozenset(
    {
        *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mpadded", "mphantom"),
        *("mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder", "mover", "munderover"),
        *("mtable", "mtr", "mtd", "menclose"),
    }
)
_FACT = re.compile("true|false")
_LENGTHS = re.compile(r"\d?\.?\d{0,3}(?:em|pt)(?: \d?\.?\d{0,3}(?:em|pt))*")
_RULES = re.compile("(?:solid|dashed|none)(?: (?:solid|dashed|none))*")
# No address, style, colour or class; no length that is negative or covers what stands beside it.
_ATTRIBUTES = {
    **dict.fromkeys(("accent", "displaystyle", "fence", "largeop", "movablelimits"), _FACT),
    **dict.fromkeys(("separator", "stretchy"), _FACT),
    **dict.fromkeys(("columnspacing", "rowspacing"), _LENGTHS),
    **dict.fromkeys(("columnlines", "rowlines"), _RULES),
    **dict.fromkeys(("lspace", "rspace"), re.compile(r"0(?:\.\d{1,3})?em")),
    **dict.fromkeys(("minsize", "maxsize"), re.compile(r"[12]\.\d{1,3}em")),
    "columnalign": re.compile("left|right|center"),
    "display": re.compile("block|inline"),
    "form": re.compile("prefix|postfix"),
    "linethickness": re.compile(r"0(?:\.\d{1,3})?(?:em|pt|px)?"),
    "mathvariant": re.compile("[a-z-]{1,24}"),
    "notation": re.compile("box|[a-z]+strike(?: [a-z]+strike)?"),
    "scriptlevel": re.compile("[012]"),
    "width": re.compile(r"0|\d?(?:\.\d{1,4})?(?:em|ex)|\d{1,2}(?:\.\d{1,4})?pt"),
}


@lru_cache(maxsize=_KEPT)
def mathml(latex: str, *, is_display: bool) -> str | None:
    """Return a formula as MathML, or None where it cannot be read."""
    if not latex.strip() or len(latex) > LONGEST:
        return None
    try:
        known = _ENVIRONMENT.sub(
            _environment, _NOT_EQUAL.sub(r"\\neq ", _ROW_GAP.sub(r"\\\\", latex))
        )
        if is_display and r"\\" in latex and r"\begin" not in latex:
            known = rf"\begin{{displaylines}}{known}\end{{displaylines}}"
        if _GROWS.search(known):
            return None
        converter = Converter(display="block" if is_display else "inline")
        converter.macros = _NO_MACROS  # type: ignore[assignment]
        tree = converter.convert_to_element(known)
        if sum(1 for _ in tree.iter()) > _MOST_ELEMENTS:
            return None
        return _written(tree)
    except Exception:  # noqa: BLE001 - latex2mathml raises errors of its own, and others on odd input
        return None


def _environment(found: re.Match[str]) -> str:
    return rf"\{found[1]}{{{_ENVIRONMENTS[found[2]]}}}"


def _written(element: Element, depth: int = 0) -> str:
    """Write what is allowed of an element; the library's own way lets HTML through.

    Raises:
        ValueError: the element is not allowed, or stands for a command that nobody knows.
    """
    if element.tag not in _TAGS or depth > _DEEPEST:
        raise ValueError(element.tag)
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and _ATTRIBUTES[name].fullmatch(value)
    )
    inner = _text(element) + "".join(_written(child, depth + 1) for child in element)
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def _text(element: Element) -> str:
    text = element.text or ""
    if element.tag != "mtext":
        if text in _ESCAPED:
            text = text[1:]
        elif text.startswith(("\\", "$")) or "&#xNone;" in text:
            raise ValueError(text)
    return html.escape(html.unescape(text))
