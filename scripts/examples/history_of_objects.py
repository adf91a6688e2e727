"""Keep a conversation by appending the message objects that the openai client returns.

Usage: python scripts/examples/history_of_objects.py [ADDRESS]
"""

import base64
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI

PICTURE = Path(__file__).parents[2] / "llava_serve" / "tiny" / "examples" / "three-shapes.png"

address = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:10000"
client = OpenAI(base_url=f"{address}/v1", api_key="none")
model = client.models.list().data[0].id
url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()

messages: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": "What is in the picture?"},
        ],
    }
]
answer = client.chat.completions.create(model=model, messages=messages).choices[0].message
print(answer.content)

messages.append(answer)
messages.append({"role": "user", "content": "What color is the circle?"})
answer = client.chat.completions.create(model=model, messages=messages).choices[0].message
print(answer.content)
