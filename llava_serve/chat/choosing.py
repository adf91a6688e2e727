"""Which of LLaVA's conversation templates a checkpoint was trained with, and why."""

from collections.abc import Collection, Mapping
from typing import Any

from llava_serve.chat.templates import TEMPLATES, Template


def template_for(
    config: Mapping[str, Any], vocabulary: Collection[str] = (), name: str = ""
) -> tuple[Template, str]:
    """Choose the row a checkpoint was trained with, and say why.

    Args:
        config: its config.json, of whatever layout.
        vocabulary: its tokenizer's tokens; some chat formats have tokens of their own.
        name: what it is called, the last resort where the rest leaves Llama's kinds open.

    Raises:
        ValueError: the language model is of a kind no row belongs to.
    """
    family = _family(config)
    if config.get("tune_mm_mlp_adapter"):
        return TEMPLATES["plain"], "only its projector was trained, on pictures with captions"
    if family == "llama":
        return _of_llama(config, vocabulary, name)
    by_family = {
        "mistral": "mistral_instruct",
        "qwen2": "qwen_1_5",
        "qwen": "qwen_1_5",
        "mpt": "mpt",
    }
    if family not in by_family:
        raise ValueError(
            f"no conversation template is known for a language model of type {family!r}; "
            f"choose one with --conv-mode: {', '.join(TEMPLATES)}"
        )
    return TEMPLATES[by_family[family]], f"the language model is of type {family!r}"


def _family(config: Mapping[str, Any]) -> str:
    text = config.get("text_config") or config
    named = str(text.get("model_type") or config.get("model_type", ""))
    return {"llava": "llama"}.get(named, named.removeprefix("llava_"))


def _of_llama(
    config: Mapping[str, Any], vocabulary: Collection[str], name: str
) -> tuple[Template, str]:
    """Tell Vicuna, Yi, Llama 2 chat and Llama 3 apart, which are all of type `llama`."""
    text = config.get("text_config") or config
    size = text.get("vocab_size") or 0
    rope = text.get("rope_parameters") or text
    for is_so, row, reason in (
        (size >= 128_000, "llava_llama_3", f"a Llama with {size} tokens is a Llama 3"),
        (size >= 64_000, "chatml_direct", f"a Llama with {size} tokens is a Yi"),
        (
            "<|start_header_id|>" in vocabulary,
            "llava_llama_3",
            "its tokenizer has <|start_header_id|>",
        ),
        (
            "<|im_start|>" in vocabulary,
            "chatml_direct",
            "it is a Llama whose tokenizer has <|im_start|>",
        ),
        # Source: config.json of 01-ai/Yi-34B; no other Llama of LLaVA's has this base.
        ((rope.get("rope_theta") or 0) >= 5e6, "chatml_direct", "its rope_theta is Yi's"),
    ):
        if is_so:
            return TEMPLATES[row], reason
    called = f"{config.get('_name_or_path') or ''} {name}".lower().replace("_", "-")
    for part, row in _LAST_RESORT:
        if part in called:
            return TEMPLATES[row], f"its name has {part!r}, which is a guess: see --conv-mode"
    return TEMPLATES["vicuna_v1"], "the language model is of type 'llama'"


# Source: haotian-liu/LLaVA@c121f04 llava/serve/cli.py::main, which looks at nothing but the name.
_LAST_RESORT = (
    ("llama-2", "llava_llama_2"),
    ("v1.6-34b", "chatml_direct"),
    ("v0-mmtag", "v0_mmtag"),
    ("mmtag", "v1_mmtag"),
    ("-v0", "llava_v0"),
)


def template_by_name(name: str) -> Template:
    """Choose the row as LLaVA's page does, which knows nothing of a model but its name.

    LLaVA-NeXT's models with Qwen and Llama 3, which that page does not know, have their own rows.
    Source: haotian-liu/LLaVA@c121f04, llava/serve/gradio_web_server.py::http_bot.
    """
    called = name.lower()
    if "llava" not in called:
        row = next((row for part, row in _NOT_LLAVA if part in called), "vicuna_v1")
    elif (found := next((row for part, row in _BY_NAME if part in called), "")) == "mistral":
        is_chatml = "orca" in called or "hermes" in called
        row = "chatml_direct" if is_chatml else "mistral_instruct"
    elif found in ("", "v1"):
        is_tagged = "mmtag" in called or ("plain" in called and "finetune" not in called)
        row = f"{found or 'v0'}_mmtag" if is_tagged else f"llava_{found or 'v0'}"
    else:
        row = found
    return TEMPLATES[row]


_NOT_LLAVA = (("mpt", "mpt"), ("llama-2", "llama_2"))
_BY_NAME = (
    ("llama-2", "llava_llama_2"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("llava-v1.6-34b", "chatml_direct"),
    ("qwen", "qwen_1_5"),
    ("llama-3", "llava_llama_3"),
    ("llama3", "llava_llama_3"),
    ("v1", "v1"),
    ("mpt", "mpt"),
)
