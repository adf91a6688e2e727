// Vercel's AI SDK over chat completions: an answer, a stream, typed answers, tools, an error and a cancel.
import { readFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

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
const calls = [];
const tools = {
  get_weather: tool({
    description: "Weather.",
    inputSchema: jsonSchema({
      type: "object",
      properties: { city: { type: "string", enum: ["Kyoto", "Bonn"] } },
      required: ["city"],
      additionalProperties: false,
    }),
    execute: async (input) => {
      calls.push(input);
      return "Sunny.";
    },
  }),
};
const weather = await generateText({
  model: served("tools"),
  maxRetries: 0,
  maxOutputTokens: 200,
  prompt: "What is the weather in Kyoto?",
  tools,
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
});
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
    tools: {
      name: weather.steps[0].toolCalls[0].toolName,
      arguments: calls[0],
      reasons: weather.steps.slice(0, 1).map((step) => step.finishReason),
      said: weather.text.length,
    },
    typed: { fields: Object.keys(typed.object) },
    error,
    cancel: seen.length > 0 ? { seen } : undefined,
  }),
);
