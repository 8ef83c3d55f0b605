// Asks by the Responses API with one of npm's libraries, and prints lines of JSON:
//   node responses.mjs LIBRARY URL TOKEN
import process from "node:process";

const [library, baseURL, apiKey] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };

async function withOpenAI() {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL, apiKey });
  say({ whole: (await client.responses.create({ model: "mock", input: "q" })).output_text });
  const stream = await client.responses.create({ model: "mock", input: "q", stream: true });
  const events = [];
  for await (const event of stream) events.push(event);
  const resumed = client.responses.stream({ response_id: events[0].response.id, starting_after: 99 });
  let count = 0;
  for await (const _ of resumed) count += 1;
  if (count !== events.length - 100) throw new Error(`${count} events after number 99`);
  say({ streamed: events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("") });
  const tools = [{ type: "function", name: "weather", strict: true, parameters }];
  const [call] = (await client.responses.create({ model: "mock", input: "Oslo", tools })).output;
  say({ tool: call.name, arguments: JSON.parse(call.arguments) });
}

async function withAI() {
  const { generateText, streamText, tool, jsonSchema } = await import("ai");
  const { createOpenAI } = await import("@ai-sdk/openai");
  const model = createOpenAI({ baseURL, apiKey })("mock");
  say({ whole: (await generateText({ model, prompt: "q" })).text });
  say({ streamed: await streamText({ model, prompt: "q" }).text });
  const tools = { weather: tool({ inputSchema: jsonSchema(parameters) }) };
  const [call] = await streamText({ model, prompt: "Oslo", tools }).toolCalls;
  say({ tool: call.toolName, arguments: call.input });
}

await { openai: withOpenAI, ai: withAI }[library]();
say({ ended: true });
