"""The prompt of an inspection as HTML: its text with the places of media, its tokens by part."""

from collections.abc import Iterator, Sequence

from llava_serve.protocol.inspection import InspectedPrompt, Inspection
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

_PARTS = {
    "media": "inspect.part.media",
    "system": "inspect.part.system",
    "user": "inspect.part.user",
    "assistant": "inspect.part.assistant",
    "template": "inspect.part.template",
    "left": "inspect.part.left",
}
_MOST_CHARACTERS = 4000  # of one text


def tokens_by_part(told: Inspection, reused: int | None) -> str:
    """Draw the context as one bar, and say what it holds; `reused` were cached for the answer."""
    if told.prompt is None:
        return f'<p class="note">{translate("inspect.too_long")}</p>'
    counts = {name: count for name, count in _counts(told.prompt) if count > 0}
    if told.tokens_left > 0:
        counts["left"] = told.tokens_left
    whole = max(sum(counts.values()), 1)
    bar = "".join(
        f'<i class="{name}" style="width:{100 * count / whole:.2f}%"></i>'
        for name, count in counts.items()
    )
    legend = "".join(
        f'<li class="{name}"><i></i>{translate(_PARTS[name])} <b>{count:,}</b></li>'
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
        translate(
            "inspect.taken",
            tokens=f"{prompt.tokens:,}",
            context=f"{told.context_length:,}",
            left=f"{told.tokens_left:,}",
        )
    ]
    if not told.fits:
        said.append(translate("inspect.over"))
    elif told.max_tokens is not None:
        said.append(translate("inspect.answer", tokens=f"{told.max_tokens:,}"))
    if reused is not None:
        said.append(translate("inspect.reused", count=reused, tokens=f"{reused:,}"))
    held = prompt.cached_tokens
    said.append(translate("inspect.held", count=held, tokens=f"{held:,}"))
    return " ".join(said)


def rendered(told: Inspection, names: Sequence[str]) -> str:
    """Show the prompt as the model reads it; `names` are those of its media."""
    if told.prompt is None:
        return ""
    parts = []
    for segment in told.prompt.segments:
        if segment.media is not None:
            is_known = segment.media < len(names)
            name = names[segment.media] if is_known else translate("inspect.other_media")
            tokens = told.media[segment.media].tokens if segment.media < len(told.media) else 0
            counted = {"count": tokens, "tokens": f"{tokens:,}"}
            place = translate("inspect.place", name=plain_text(name), **counted)
            parts.append(f"<mark>{place}</mark>")
        else:
            text = segment.text or ""
            more = len(text) - _MOST_CHARACTERS
            cut = f"<em>{translate('inspect.cut', characters=f'{more:,}')}</em>" if more > 0 else ""
            parts.append(
                f"<span class={segment.type}>{plain_text(text[:_MOST_CHARACTERS])}</span>{cut}"
            )
    return f'<pre class="prompt" tabindex="0">{"".join(parts)}</pre>'
