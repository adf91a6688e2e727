"""The bundled checkpoint with chat templates that have tools, in the forms of three families."""

import shutil
from pathlib import Path

from llava_serve.tiny import CHECKPOINT

_CONTENT = """\
{%- macro said(content) -%}
{%- if content is string -%}{{- content -}}{%- else -%}{%- for part in content -%}
{%- if part['type'] == 'text' -%}{{- part['text'] -}}
{%- else -%}{{- '<' + part['type'] + '>\\n' -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
"""

# As Hermes and Qwen: each call between tags, as many as there are.
HERMES = (
    _CONTENT
    + """\
{%- if tools -%}
{{- '<|im_start|>system\\nFunctions:' -}}
{%- for tool in tools -%}{{- '\\n' + tool | tojson -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + said(message.content) + '\\n</tool_response>' -}}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' + said(message.content) -}}
{%- for call in message.tool_calls or [] -%}
{%- if message.content or not loop.first -%}{{- '\\n' -}}{%- endif -%}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}\\n</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
)

# As Mistral: a list of calls behind a token, with ids of nine letters that answers leave out.
MISTRAL = (
    _CONTENT
    + """\
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{%- if tools and loop.index0 == 0 -%}{{- '[AVAILABLE_TOOLS]' + tools | tojson -}}{%- endif -%}
{{- '<|im_start|>' + said(message.content) + '<|im_end|>' -}}
{%- elif message.tool_calls is defined -%}
{{- '[TOOL_CALLS] [' -}}
{%- for call in message.tool_calls -%}
{%- if call.id | length != 9 -%}{{- raise_exception('ids have nine letters') -}}{%- endif -%}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' -}}
{{- ']<|im_end|>' if loop.last else ', ' -}}
{%- endfor -%}
{%- elif message.role == 'tool' -%}
{{- '[TOOL_RESULTS]{"content": ' + said(message.content) + ', ' -}}
{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' -}}
{%- else -%}
{{- said(message.content) + '<|im_end|>' -}}
{%- endif -%}
{%- endfor -%}
"""
)

# As Llama 3: the whole answer is a call, and there is one.
LLAMA = (
    _CONTENT
    + """\
{%- for message in messages -%}
{%- if 'tool_calls' in message -%}
{%- if message.tool_calls | length > 1 -%}{{- raise_exception('one call') -}}{%- endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- '<|im_start|>assistant\\n{"name": "' + call.name + '", ' -}}
{{- '"parameters": ' + call.arguments | tojson + '}<|im_end|>' -}}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if tools and loop.index0 == 0 -%}
{%- for tool in tools -%}{{- tool | tojson(indent=4) + '\\n\\n' -}}{%- endfor -%}
{%- endif -%}
{{- said(message.content) + '<|im_end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
)

_UNUSED = "<|endoftext|>"  # a special token that nothing here says


def tool_checkpoint(folder: Path, template: str = HERMES, special: str = _UNUSED) -> Path:
    """Write the checkpoint into `folder`, and call one of its special tokens `special`."""
    shutil.copytree(CHECKPOINT, folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    for path in folder.glob("*.json"):
        text = path.read_text("utf-8")
        if _UNUSED in text and special != _UNUSED:
            path.write_text(text.replace(_UNUSED, special), "utf-8")
    return folder
