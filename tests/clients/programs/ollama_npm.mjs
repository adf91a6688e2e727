// npm's `ollama`: an answer, a stream, a prompt, the models, an error and a cancel.
import { readFile } from "node:fs/promises";
import { Ollama } from "ollama";

const [host, picture] = process.argv.slice(2);
const client = new Ollama({ host });
const question = "What color is the circle?";
const images = [new Uint8Array(await readFile(picture))];
const options = { temperature: 0, num_ctx: 2048 };
const asked = () => ({
  model: "llava-tiny",
  messages: [{ role: "user", content: question, images }],
  options,
});

const whole = await client.chat(asked());
const pieces = [];
for await (const line of await client.chat({ ...asked(), stream: true })) {
  if (line.message.content) pieces.push(line.message.content);
}
const generated = await client.generate({ model: "llava-tiny:latest", prompt: question, images, options });
const listed = await client.list();
const shown = await client.show({ model: "llava-tiny" });
let error;
try {
  await client.chat({ ...asked(), model: "no-such-model", stream: true });
} catch (refusal) {
  error = { kind: refusal.name, message: refusal.message };
}
const long = [{ role: "user", content: "word ".repeat(300) }];
let cancel;
try {
  for await (const _ of await client.chat({ model: "slow", messages: long, stream: true })) client.abort();
} catch (abort) {
  cancel = { kind: abort.name };
}

console.log(
  JSON.stringify({
    chat: { answer: whole.message.content },
    counts: { used: whole.prompt_eval_count, made: whole.eval_count },
    stream: { answer: pieces.join(""), pieces: pieces.length },
    generate: { answer: generated.response },
    list: { models: listed.models.map((model) => model.name) },
    show: { capabilities: shown.capabilities },
    error,
    cancel,
  }),
);
