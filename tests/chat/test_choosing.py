"""A template by the model's name alone is the one that LLaVA's page chooses."""

import pytest

from llava_serve.chat.choosing import template_by_name


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("llava-v1.5-7b", "llava_v1"),
        ("LLaVA-v1.5-13B-lora", "llava_v1"),
        ("llava-v1.6-vicuna-7b", "llava_v1"),
        ("llava-v1.6-34b", "chatml_direct"),
        ("llava-v1.6-mistral-7b", "mistral_instruct"),
        ("llava-mixtral-8x7b", "mistral_instruct"),
        ("llava-mistral-hermes", "chatml_direct"),
        ("llava-mistral-orca", "chatml_direct"),
        ("llava-llama-2-13b-chat", "llava_llama_2"),
        ("llava-v1-mmtag", "v1_mmtag"),
        ("llava-v1-plain", "v1_mmtag"),
        ("llava-v1-plain-finetune", "llava_v1"),
        ("llava-mpt-7b", "mpt"),
        ("LLaVA-7b-mmtag", "v0_mmtag"),
        ("llava-7b-plain", "v0_mmtag"),
        ("LLaVA-7b", "llava_v0"),
        ("llava-onevision-qwen2-7b-ov", "qwen_1_5"),
        ("llama3-llava-next-8b", "llava_llama_3"),
        ("mpt-7b-chat", "mpt"),
        ("llama-2-7b-chat", "llama_2"),
        ("vicuna-7b", "vicuna_v1"),
    ],
)
def test_a_name_has_the_template_of_llavas_page(name: str, row: str) -> None:
    assert template_by_name(name).name == row
