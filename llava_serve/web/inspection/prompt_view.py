"""The prompt of an inspection as HTML: its text with the places of media, its tokens by part."""

from collections.abc import Iterator, Sequence

from llava_serve.protocol.inspection import InspectedPrompt, Inspection
from llava_serve.web.render import plain_text

_TOO_LONG = "The text is far longer than the context, so it was not read."
_CUT = "… {count:,} more characters"
_PLACE = "{name}, {tokens:,} tokens"
_OTHER = "Media"
_PARTS = {
    "media": "Pictures and clips",
    "system": "System prompt",
    "user": "Questions",
    "assistant": "Earlier answers",
    "template": "Template",
    "left": "Left of the context",
}
_OF = "{tokens:,} of {context:,} tokens of the context are taken by the prompt; {left:,} are left."
_ANSWER = "The answer may take up to {tokens:,}."
_OVER = "It does not fit."
_REUSED = "Reused from the cache for this answer: {tokens:,} tokens of the prompt."
_HELD = "In the worker's cache at the moment: {tokens:,} tokens of the prompt."
_MOST_CHARACTERS = 4000  # of one text


def tokens_by_part(told: Inspection, reused: int | None) -> str:
    """Draw the context as one bar, and say what it holds; `reused` were cached for the answer."""
    if told.prompt is None:
        return f'<p class="note">{_TOO_LONG}</p>'
    counts = {name: count for name, count in _counts(told.prompt) if count > 0}
    if told.tokens_left > 0:
        counts["left"] = told.tokens_left
    whole = max(sum(counts.values()), 1)
    bar = "".join(
        f'<i class="{name}" style="width:{100 * count / whole:.2f}%"></i>'
        for name, count in counts.items()
    )
    legend = "".join(
        f'<li class="{name}"><i></i>{_PARTS[name]} <b>{count:,}</b></li>'
        for name, count in counts.items()
    )
    return (
        f'<div class="parts-bar" aria-hidden="true">{bar}</div><ul class="legend">{legend}</ul>'
        f"<p>{_sentences(told, told.prompt, reused)}</p>"
    )


def _counts(prompt: InspectedPrompt) -> Iterator[tuple[str, int]]:
    yield "media", prompt.media_tokens
    for role in ("system", "user", "assistant"):
        yield role, sum(each.text_tokens for each in prompt.messages if each.role == role)
    yield "template", prompt.template_tokens


def _sentences(told: Inspection, prompt: InspectedPrompt, reused: int | None) -> str:
    said = [
        _OF.format(tokens=prompt.tokens, context=told.context_length, left=told.tokens_left),
    ]
    if not told.fits:
        said.append(_OVER)
    elif told.max_tokens is not None:
        said.append(_ANSWER.format(tokens=told.max_tokens))
    if reused is not None:
        said.append(_REUSED.format(tokens=reused))
    said.append(_HELD.format(tokens=prompt.cached_tokens))
    return " ".join(said)


def rendered(told: Inspection, names: Sequence[str]) -> str:
    """Show the prompt as the model reads it; `names` are those of its media."""
    if told.prompt is None:
        return ""
    parts = []
    for segment in told.prompt.segments:
        if segment.media is not None:
            name = names[segment.media] if segment.media < len(names) else _OTHER
            tokens = told.media[segment.media].tokens if segment.media < len(told.media) else 0
            parts.append(f"<mark>{_PLACE.format(name=plain_text(name), tokens=tokens)}</mark>")
        else:
            text = segment.text or ""
            more = len(text) - _MOST_CHARACTERS
            cut = f"<em>{_CUT.format(count=more)}</em>" if more > 0 else ""
            parts.append(
                f"<span class={segment.type}>{plain_text(text[:_MOST_CHARACTERS])}</span>{cut}"
            )
    return f'<pre class="prompt" tabindex="0">{"".join(parts)}</pre>'
