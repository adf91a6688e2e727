"""Names are the field's: no identifier of the package holds a home-made or a banned word."""

import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

import llava_serve

PACKAGE = Path(llava_serve.__file__).parent
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")

# A part of a trace, to OpenTelemetry.
TRACING = {
    *("span", "Span", "NO_SPAN", "_span", "SpanKind", "OtlpSpan", "start_span"),
    *("add_span_processor", "BatchSpanProcessor", "OTLPSpanExporter", "set_span_in_context"),
    *("ReadableSpan", "SpanExportResult"),
}

# Word -> what is said instead, and the identifiers in which it is another's or means another thing.
BANNED: dict[str, tuple[str, set[str]]] = {
    "addr": ("address", set()),
    "beat": ("heartbeat", {"receive_heart_beat", "check_heart_beat"}),  # LLaVA's wire
    "chooser": ("sampler", set()),
    "claim": ("registration", set()),
    "claimed": ("reserved, registered", set()),
    "clip": ("video", {"CLIPVisionConfig", "_CLIP_L", "OPENAI_CLIP_MEAN", "OPENAI_CLIP_STD"}),
    "conv": ("conversation, template", {"conv_mode"}),  # LLaVA's flag
    "door": ("admission", set()),
    "encoder": ("vision tower", set()),
    "film": ("video", set()),
    "grant": ("allocation", set()),
    "img": ("image", set()),
    "job": ("sequence, request, task", set()),
    "lose": ("mark_unreachable", set()),
    "manager": ("controller", {"AbstractAsyncContextManager", "TaskManager", "task_manager"}),
    "master": ("controller", set()),
    "node": ("worker", {"get_node_ip_address", "get_node_id"}),  # Ray's
    "ori": ("original", set()),
    "pace": ("step budget", set()),
    "picture": ("image", {"picture"}),  # the flag of `checkpoints inspect`
    "pictures": ("images", set()),
    "piece": (
        "delta, token",
        {"SentencePieceProcessor", "SentencePieceText", "piece", "piece_to_id", "get_piece_size"},
    ),
    "pieces": ("tokens", {"pieces", "leave_out_native_pieces"}),  # sentencepiece's
    "qlen": ("queue_length", set()),
    "ret": ("result", set()),
    "seat": ("slot", set()),
    "share": ("fraction, scheduled tokens", {"share"}),  # LLaVA's flag
    "shares": ("scheduled tokens", set()),
    "span": ("KV region", TRACING),
    "spans": ("KV allocator", set()),
    "splice": ("merge_image_features", set()),
}


def words_by_identifier() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type == tokenize.NAME:
                found[token.string].update(word.lower() for word in WORD.findall(token.string))
        for part in path.relative_to(PACKAGE).with_suffix("").parts:
            found[part].update(part.split("_"))
    return found


IDENTIFIERS = words_by_identifier()


@pytest.mark.parametrize("word", BANNED)
def test_a_banned_word_is_in_no_identifier(word: str) -> None:
    instead, allowed = BANNED[word]
    found = {name for name, words in IDENTIFIERS.items() if word in words}
    assert found - allowed == set(), f"say {instead}"
    assert allowed - found == set(), "an exception that nothing needs"


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for name in re.findall(r"^class _?(\w+)", path.read_text("utf-8"), re.MULTILINE):
            places[name].append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
