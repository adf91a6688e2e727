// What @anthropic-ai/sdk makes of a server's answers: its address, a model and a PNG in base64.
import Anthropic from "@anthropic-ai/sdk";

const [address, model, png] = process.argv.slice(2);
const client = new Anthropic({ baseURL: address, apiKey: "none", maxRetries: 0 });
const source = { type: "base64", media_type: "image/png", data: png };
const content = [
  { type: "image", source },
  { type: "text", text: "What color is the circle?" },
];
const asked = { model, max_tokens: 60, messages: [{ role: "user", content }] };

const errorOf = async (work) => {
  try {
    await work;
  } catch (error) {
    return { name: error.constructor.name, status: error.status, message: error.message };
  }
};

const whole = await client.messages.create(asked);
const texts = [];
const stream = client.messages.stream(asked).on("text", (text) => texts.push(text));
const final = await stream.finalMessage();
const stopped = await client.messages.create({ ...asked, stop_sequences: ["red"] });
const counted = await client.messages.countTokens({ model, messages: asked.messages });

const left = client.messages.stream({ ...asked, max_tokens: 500 });
left.on("text", () => left.abort());

console.log(
  JSON.stringify({
    whole,
    texts,
    final,
    stopped,
    counted,
    left: await errorOf(left.finalMessage()),
    unknown: await errorOf(client.messages.create({ ...asked, model: "other" })),
    refused: await errorOf(client.messages.create({ ...asked, max_tokens: 0 })),
    overflow: await errorOf(client.messages.create({ ...asked, max_tokens: 8000 })),
  }),
);
