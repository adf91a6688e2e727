#!/usr/bin/env bash
# Ask about a picture with curl. The answer streams in as server-sent events.
#
# Usage: bash scripts/examples/ask.sh [ADDRESS [KEY]]
set -euo pipefail

address=${1:-http://localhost:10000}
address=${address%/}
headers=(--header "Authorization: Bearer ${2:-none}" --header "Content-Type: application/json")
picture=$(dirname "$0")/../../llava_serve/tiny/examples/three-shapes.png

models=$(curl --silent --show-error --fail-with-body "${headers[@]}" "$address/v1/models") ||
    { echo "$models" >&2; exit 1; }
model=$(grep -o '"id":"[^"]*"' <<< "$models" | head -n 1 | cut -d '"' -f 4) ||
    { echo "No model is served at $address yet. Start a worker, or try again in a moment." >&2; exit 1; }

curl --silent --show-error --fail-with-body --no-buffer "${headers[@]}" --data-binary @- \
    "$address/v1/chat/completions" << BODY
{
  "model": "$model",
  "stream": true,
  "messages": [{"role": "user", "content": [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,$(base64 < "$picture" | tr -d '\n')"}},
    {"type": "text", "text": "What color is the circle?"}
  ]}]
}
BODY
