// Asks a model through the service with one of npm's libraries, and prints lines of JSON:
//   node ask.mjs LIBRARY URL TOKEN streamed|whole|tools QUESTION [IDEMPOTENCY_KEY]
import process from "node:process";

const [library, baseURL, apiKey, how, question, key] = process.argv.slice(2);
const headers = key ? { "Idempotency-Key": key } : {};
const say = (line) => console.log(JSON.stringify(line));
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

async function withOpenAI() {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL, apiKey });
  const asked = { model: "m", messages: [{ role: "user", content: question }] };
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const called = (calls) =>
    calls.forEach((call) => say({ tool: call.function.name, arguments: JSON.parse(call.function.arguments) }));
  if (how === "whole") {
    say({ text: (await client.chat.completions.create(asked, { headers })).choices[0].message.content });
  } else if (how === "tools") {
    called((await client.chat.completions.create({ ...asked, tools }, { headers })).choices[0].message.tool_calls);
    const stream = client.chat.completions.stream({ ...asked, tools }, { headers });
    called((await stream.finalChatCompletion()).choices[0].message.tool_calls);
  } else {
    const stream = await client.chat.completions.create({ ...asked, stream: true }, { headers });
    for await (const { choices } of stream) {
      for (const choice of choices) say({ text: choice.delta.content ?? "", finished: choice.finish_reason });
    }
  }
}

async function withAI() {
  const { generateText, streamText, tool, jsonSchema } = await import("ai");
  const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
  const model = createOpenAICompatible({ name: "pushsvc", baseURL, apiKey })("m");
  const asked = { model, prompt: question, headers };
  const tools = { weather: tool({ inputSchema: jsonSchema(parameters) }) };
  const called = (calls) => calls.forEach((call) => say({ tool: call.toolName, arguments: call.input }));
  if (how === "whole") {
    say({ text: (await generateText(asked)).text });
  } else if (how === "tools") {
    called((await generateText({ ...asked, tools })).toolCalls);
    called(await streamText({ ...asked, tools }).toolCalls);
  } else {
    const failed = [];
    const answer = streamText({ ...asked, onError: ({ error }) => failed.push(error) });
    for await (const text of answer.textStream) say({ text });
    if (failed.length) throw failed[0];
    say({ text: "", finished: await answer.finishReason });
  }
}

try {
  await { openai: withOpenAI, ai: withAI }[library]();
  say({ ended: true });
} catch (thrown) {
  const error = thrown.lastError ?? thrown;
  const told = error.responseHeaders ?? error.headers ?? {};
  say({
    error: error.name,
    message: error.message,
    status: error.status ?? error.statusCode ?? null,
    headers: told instanceof Headers ? Object.fromEntries(told) : told,
  });
}
