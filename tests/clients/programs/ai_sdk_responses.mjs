// Vercel's AI SDK over Responses, its default: a tool that it calls for the model, and an error.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, tool } from "ai";

const [address] = process.argv.slice(2);
const served = createOpenAI({ baseURL: `${address}/v1`, apiKey: "none" });
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
const ask = {
  model: served("tools"),
  maxRetries: 0,
  maxOutputTokens: 200,
  prompt: "What is the weather in Kyoto?",
  tools,
  providerOptions: { openai: { store: false, parallelToolCalls: false } },
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
};
const weather = await generateText(ask);
let error;
try {
  await generateText({ ...ask, model: served("no-such-model") });
} catch (refusal) {
  error = { kind: refusal.name, message: refusal.message };
}

console.log(
  JSON.stringify({
    tools: {
      name: weather.steps[0].toolCalls[0].toolName,
      arguments: calls[0],
      reasons: weather.steps.slice(0, 1).map((step) => step.finishReason),
      said: weather.text.length,
    },
    error,
  }),
);
