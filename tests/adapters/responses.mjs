// What the openai package and the AI SDK make of a server's responses: its address, a model, a PNG.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const [address, model, png] = process.argv.slice(2);
const baseURL = `${address}/v1`;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const content = [
  { type: "input_image", image_url: `data:image/png;base64,${png}`, detail: "auto" },
  { type: "input_text", text: "What color is the circle?" },
];
const asked = { model, temperature: 0, input: [{ role: "user", content }] };

const errorOf = async (work) => {
  try {
    await work;
  } catch (error) {
    return { name: error.constructor.name, status: error.status, message: error.message };
  }
};

const whole = await client.responses.create(asked);
const texts = [];
let last;
for await (const event of await client.responses.create({ ...asked, stream: true })) {
  if (event.type === "response.output_text.delta") texts.push(event.delta);
  last = event;
}
const final = await client.responses.stream(asked).finalResponse();

const left = await client.responses.create({ ...asked, stream: true });
for await (const _ of left) break;

const parts = [
  { type: "image", image: png, mediaType: "image/png" },
  { type: "text", text: "What color is the circle?" },
];
const ask = { model: createOpenAI({ baseURL, apiKey: "none" })(model), temperature: 0, maxRetries: 0 };
const messages = [{ role: "user", content: parts }];
const generated = await generateText({ ...ask, system: "Be brief.", messages });
const streamed = streamText({ ...ask, messages });
const sdkTexts = [];
for await (const text of streamed.textStream) sdkTexts.push(text);
const unknown = createOpenAI({ baseURL, apiKey: "none" })("other");

console.log(
  JSON.stringify({
    whole: whole.output_text,
    texts,
    last,
    final: final.output_text,
    generated: { text: generated.text, reason: generated.finishReason, usage: generated.usage },
    sdkTexts,
    unknown: await errorOf(client.responses.create({ ...asked, model: "other" })),
    refused: await errorOf(client.responses.create({ ...asked, temperature: 3 })),
    overflow: await errorOf(client.responses.create({ ...asked, max_output_tokens: 8000 })),
    sdkUnknown: await errorOf(generateText({ ...ask, model: unknown, prompt: "hi" })),
  }),
);
