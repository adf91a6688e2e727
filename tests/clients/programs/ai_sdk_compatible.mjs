// Vercel's AI SDK over chat completions: an answer, a stream, typed answers, an error and a cancel.
import { readFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, streamText } from "ai";

const [address, picture] = process.argv.slice(2);
const served = createOpenAICompatible({
  name: "llava",
  baseURL: `${address}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const parts = [
  { type: "image", image: await readFile(picture), mediaType: "image/png" },
  { type: "text", text: "What color is the circle?" },
];
const messages = [{ role: "user", content: parts }];
const ask = { model: served("llava-tiny"), temperature: 0, maxRetries: 0, messages };

const whole = await generateText(ask);
const streamed = streamText(ask);
const pieces = [];
for await (const text of streamed.textStream) pieces.push(text);
const used = await streamed.usage;
const schema = jsonSchema({
  type: "object",
  properties: { color: { enum: ["red", "green", "blue"] }, is_round: { type: "boolean" } },
  required: ["color", "is_round"],
  additionalProperties: false,
});
const typed = await generateObject({ ...ask, schema, maxOutputTokens: 200 });
let error;
try {
  await generateText({ ...ask, model: served("no-such-model") });
} catch (refusal) {
  error = { kind: refusal.name, message: refusal.message };
}
const leaving = new AbortController();
const long = streamText({
  model: served("slow"),
  prompt: "word ".repeat(300),
  abortSignal: leaving.signal,
  onError: () => {},
});
const seen = [];
for await (const text of long.textStream) {
  seen.push(text);
  leaving.abort();
}

console.log(
  JSON.stringify({
    chat: { answer: whole.text },
    counts: { used: used.inputTokens, made: used.outputTokens },
    stream: { answer: pieces.join(""), pieces: pieces.length },
    typed: { fields: Object.keys(typed.object) },
    error,
    cancel: seen.length > 0 ? { seen } : undefined,
  }),
);
