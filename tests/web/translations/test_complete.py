"""Both catalogues are whole: what is used exists, what exists is used, Chinese lacks nothing."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import llava_serve
from llava_serve import errors
from llava_serve.errors import FOR_OPERATORS, CheckpointError, CommandError, ServeError
from llava_serve.web.translations.catalogue import (
    CHINESE,
    ENGLISH,
    Catalogue,
    places,
    plural_categories,
)

PACKAGE = Path(llava_serve.__file__).parent
SOURCES = [
    path
    for folder in ("web", "logins")
    for kind in ("py", "js", "html")
    for path in sorted((PACKAGE / folder).rglob(f"*.{kind}"))
]
AREAS = {key.partition(".")[0] for key in ENGLISH.messages}
NAMED = re.compile(rf"(?:{'|'.join(AREAS)})(?:\.[a-z0-9_]+)+")
FILE = re.compile(r"\.(?:py|js|css|html|json|png|md)$")
# What the field calls it in Chinese too.
SAME_IN_CHINESE = {"parameters.top_p", "compare.part.top_p"}
# An error that only ever ends a command or a start: no user of the page meets it. Any other can
# come over the wire, or from the page's own server.
OF_COMMANDS = (CommandError, CheckpointError)
CODES = {
    member.code
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, ServeError) and not issubclass(member, OF_COMMANDS)
}
OF_ERRORS = {f"error.{code}{end}" for code in CODES for end in ("", ".remedy")}


def calls(path: Path) -> Iterator[ast.expr]:
    """Yield the first argument of each call that asks for a text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if name in ("translate", "at_load"):
                yield node.args[0]


def pattern(key: ast.JoinedStr) -> str:
    return "".join(
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[a-z0-9_]+"
        for part in key.values
    )


def keys_asked_for(path: Path) -> set[str]:
    """Return each key that a module, a script or a template asks for by its name."""
    if path.suffix == ".py":
        return {str(key.value) for key in calls(path) if isinstance(key, ast.Constant)}
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\btranslate\(\s*'([\w.]+)'|%%(\w+(?:\.\w+)+)%%", text)
    return {key for pair in found for key in pair if key}


def keys_named(path: Path) -> set[str]:
    """Return each string of a module that can be nothing else than a key."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {one for one in strings if NAMED.fullmatch(one) and not FILE.search(one)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_key_that_is_asked_for_exists(path: Path) -> None:
    assert keys_asked_for(path) - ENGLISH.messages.keys() == set()
    if path.suffix == ".py":
        assert keys_named(path) - ENGLISH.messages.keys() == set()
        made = [pattern(key) for key in calls(path) if isinstance(key, ast.JoinedStr)]
        unknown = [
            one for one in made if not any(re.fullmatch(one, key) for key in ENGLISH.messages)
        ]
        assert unknown == []


def test_every_text_is_used() -> None:
    named = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    made = [
        pattern(key)
        for path in SOURCES
        if path.suffix == ".py"
        for key in calls(path)
        if isinstance(key, ast.JoinedStr)
    ]
    literal = set(re.findall(r"[a-z_]+(?:\.[a-z0-9_]+)+", named))
    unused = {
        key
        for key in ENGLISH.messages.keys() - literal
        if not any(re.fullmatch(one, key) for one in made)
    }
    assert unused == set()


def test_chinese_has_every_text_and_every_error() -> None:
    assert CHINESE.missing() == frozenset()
    assert CHINESE.messages.keys() - ENGLISH.messages.keys() == OF_ERRORS


@pytest.mark.parametrize("key", sorted(ENGLISH.messages))
def test_chinese_has_the_values_and_the_plural_forms_that_it_needs(key: str) -> None:
    english, chinese = ENGLISH.messages[key], CHINESE.messages[key]
    assert places(chinese) == places(english)
    for text, one in ((english, ENGLISH), (chinese, CHINESE)):
        if not isinstance(text, str):
            assert text.keys() == plural_categories(one.tag)
    assert isinstance(english, str) == isinstance(chinese, str)


def test_no_text_was_left_in_english() -> None:
    same = {key for key, text in ENGLISH.messages.items() if CHINESE.messages[key] == text}
    assert same <= SAME_IN_CHINESE


@pytest.mark.parametrize("key", sorted(OF_ERRORS))
def test_an_error_is_told_in_chinese_without_operators_words(key: str) -> None:
    text = CHINESE.messages[key]
    assert isinstance(text, str)
    assert FOR_OPERATORS.search(text) is None
    assert text.endswith("\N{IDEOGRAPHIC FULL STOP}")
    assert places(text) == frozenset()


@pytest.mark.parametrize("one", [ENGLISH, CHINESE], ids=lambda one: one.tag)
def test_a_file_is_sorted_by_key(one: Catalogue) -> None:
    assert list(one.messages) == sorted(one.messages)
