"""Ask about a picture with `requests` alone. The answer streams in as server-sent events.

Usage: python scripts/examples/ask_requests.py [ADDRESS [KEY]]
"""

import base64
import json
import sys
from pathlib import Path

import requests

PICTURE = Path(__file__).parents[2] / "llava_serve" / "tiny" / "examples" / "three-shapes.png"

address = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:10000"
key = sys.argv[2] if len(sys.argv) > 2 else "none"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {key}"


def checked(answer: requests.Response) -> requests.Response:
    if not answer.ok:
        sys.exit(answer.json()["error"]["message"])
    return answer


model = checked(session.get(f"{address}/v1/models")).json()["data"][0]["id"]
url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
body = {
    "model": model,
    "stream": True,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "What color is the circle?"},
            ],
        }
    ],
}
with checked(session.post(f"{address}/v1/chat/completions", json=body, stream=True)) as answer:
    for line in answer.iter_lines():
        if not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue  # the end, or a comment that shows that the answer is still being made
        event = json.loads(line.removeprefix(b"data: "))
        if "error" in event:
            sys.exit(event["error"]["message"])
        for choice in event["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
