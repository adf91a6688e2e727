// Ask about a picture with Node's own fetch. The answer streams in as server-sent events.
//
// Usage: node scripts/examples/ask.mjs [ADDRESS [KEY]]

import { readFile } from "node:fs/promises";

const [address = "http://localhost:10000", key = "none"] = process.argv.slice(2);
const picture = new URL("../../llava_serve/tiny/examples/three-shapes.png", import.meta.url);
const url = `data:image/png;base64,${(await readFile(picture)).toString("base64")}`;

async function call(path, body) {
  const response = await fetch(address + path, {
    method: body ? "POST" : "GET",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response;
  fail((await response.json()).error);
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

const [model] = (await (await call("/v1/models")).json()).data;
const response = await call("/v1/chat/completions", {
  model: model.id,
  stream: true,
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url } },
        { type: "text", text: "What color is the circle?" },
      ],
    },
  ],
});

let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const events = (rest + text).split("\n\n");
  rest = events.pop();
  for (const event of events) {
    if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
    const chunk = JSON.parse(event.slice("data: ".length));
    if (chunk.error) fail(chunk.error);
    process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  }
}
console.log();
