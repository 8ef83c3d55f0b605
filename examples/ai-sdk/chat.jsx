import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const server = new URLSearchParams(location.search).get("api") ?? "http://127.0.0.1:8080";
const api = `${server}/v1/ui/chat`;
const headers = { Authorization: `Bearer ${location.hash.slice(1)}` };
const id = "example";

// A backend would keep the messages. The one that is being answered is enough: the answer comes with `resume`.
const kept = JSON.parse(localStorage.getItem(id) ?? "[]");

function Chat() {
  const [text, setText] = useState("");
  const { messages, sendMessage, status, error } = useChat({
    id,
    messages: kept,
    resume: true,
    transport: new DefaultChatTransport({ api, headers, body: { model: "mock" } }),
  });
  const busy = status === "submitted" || status === "streaming";

  useEffect(() => {
    const asked = busy ? messages.slice(0, messages.findLastIndex((message) => message.role === "user") + 1) : messages;
    localStorage.setItem(id, JSON.stringify(asked));
  }, [messages, busy]);

  // `stop` of useChat would only close this page's stream; this ends the answer, in all pages and at the model.
  const stop = () => fetch(`${api}/${id}/stream`, { method: "DELETE", headers });

  const send = (event) => {
    event.preventDefault();
    sendMessage({ text });
    setText("");
  };

  return (
    <>
      {messages.map((message) => (
        <p key={message.id} className={message.role}>
          {message.parts.map((part, number) => part.type === "text" && <span key={number}>{part.text}</span>)}
        </p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <input aria-label="Question" value={text} onChange={(event) => setText(event.target.value)} />
        <button disabled={busy}>Send</button>
        <button type="button" disabled={!busy} onClick={stop}>Stop</button>
        <output>{status}</output>
      </form>
    </>
  );
}

createRoot(document.getElementById("chat")).render(<Chat />);
