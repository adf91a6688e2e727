"""Difference of two answers, word by word, as HTML that says more than its colours."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

MOST_WORDS = 3000  # of each answer: their comparison takes up to a second
_MOST_PAIRS = 1_000_000  # of equal words; beyond it words that are everywhere align nothing
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"  # scripts without spaces
# A line's end is a token of its own, so that the word before it stays the same word.
_TOKEN = re.compile(rf"(?:[{_CJK}]|(?:(?![{_CJK}])\w)+|[^\w\s])[^\S\n]*|\n\s*")
_HAS_WORD = re.compile(r"\w")


def difference(one: str, other: str, names: Sequence[str]) -> str:
    """Compare two texts as they were written, Markdown and all. It blocks, a second at most.

    `names` are those of the two, by which what is in one of them only is told.
    """
    words, others = _TOKEN.findall(one.strip()), _TOKEN.findall(other.strip())
    is_cut = max(len(words), len(others)) > MOST_WORDS
    words, others = words[:MOST_WORDS], others[:MOST_WORDS]
    keys, other_keys = [*map(_key, words)], [*map(_key, others)]
    counts, other_counts = Counter(keys), Counter(other_keys)
    is_coarse = sum(n * other_counts[key] for key, n in counts.items()) > _MOST_PAIRS
    matcher = SequenceMatcher(None, keys, other_keys, autojunk=is_coarse)
    kinds = [(kind, words[a:b], others[c:d]) for kind, a, b, c, d in matcher.get_opcodes()]
    removed = sum(_count(old) for kind, old, _ in kinds if kind != "equal")
    added = sum(_count(new) for kind, _, new in kinds if kind != "equal")
    notes = [translate("compare.same_answers" if keys == other_keys else "compare.same_words")]
    if removed or added:
        of = {"first": names[0], "one": removed, "second": names[1], "other": added}
        notes = [translate("compare.words_of_one", **of)]
    if is_cut:
        notes.append(translate("compare.cut", words=f"{MOST_WORDS:,}"))
    if is_coarse:
        notes.append(translate("compare.coarse"))
    told = "".join(f"<p>{plain_text(note)}</p>" for note in notes)
    return f'{told}<div class="text">{"".join(_marked(kinds, names))}</div>'


def _key(token: str) -> str:
    """Return what a token is compared by: the space behind it does not count."""
    return token.rstrip() or "\n"


def _count(tokens: Sequence[str]) -> int:
    """Return how many of the tokens are words."""
    return sum(_HAS_WORD.search(token) is not None for token in tokens)


def _marked(
    kinds: Sequence[tuple[str, list[str], list[str]]], names: Sequence[str]
) -> Iterator[str]:
    for kind, old, new in kinds:
        if kind == "equal":
            yield plain_text("".join(new))
            continue
        for element, words, name in (("del", old, names[0]), ("ins", new, names[1])):
            if words:
                before = translate("compare.only_in", name=name)
                after = translate("compare.only_in_end")
                yield (
                    f'<{element}><span class="unseen">{plain_text(before)} </span>'
                    f'{plain_text("".join(words))}<span class="unseen"> {after}</span></{element}>'
                )
