"""Ask about a picture with the `openai` package. The answer streams in.

Usage: python scripts/examples/ask_openai.py [ADDRESS [KEY]]
"""

import base64
import sys
from pathlib import Path

from openai import APIStatusError, OpenAI

PICTURE = Path(__file__).parents[2] / "llava_serve" / "tiny" / "examples" / "three-shapes.png"

address = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:10000"
key = sys.argv[2] if len(sys.argv) > 2 else "none"
client = OpenAI(base_url=f"{address}/v1", api_key=key)
url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()

try:
    chunks = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": url}},
                    {"type": "text", "text": "What color is the circle?"},
                ],
            }
        ],
        stream=True,
    )
    for chunk in chunks:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
except APIStatusError as refused:
    sys.exit(str(refused))
