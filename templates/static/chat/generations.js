/** A generation, as the service keeps it: what was asked (messages), and what was answered (text). */

import { BASE, DEMO } from "../api.js";

export const PATH = "v1/generations";
export const pathOf = id => `${PATH}/${encodeURIComponent(id)}`;

// What this tab knows of an answer: how often its stream was picked up, how fast it was.
export const memory = id => JSON.parse(sessionStorage.getItem(`pushsvc.chat.${id}`) ?? "{}");
export const remember = (id, more) => sessionStorage.setItem(`pushsvc.chat.${id}`, JSON.stringify({ ...memory(id), ...more }));

export const runs = generation => ["asking", "running"].includes(generation?.state);
export const failed = generation => !runs(generation) && !["completed", "cancelled"].includes(generation.state);
export const textOf = ({ content }) => Array.isArray(content) ? content.map(part => part?.text ?? "").join("") : content ?? "";
export const whole = ({ messages, text }) => text ? [...messages, { role: "assistant", content: text }] : messages;
export const begins = (messages, start) => start.length <= messages.length
  && start.every((each, n) => each.role === messages[n].role && textOf(each) === textOf(messages[n]));

export function continues(later, earlier) {
  if (later.messages.length === earlier.messages.length) return failed(earlier) && begins(later.messages, earlier.messages);  // tried again
  return !runs(earlier) && begins(later.messages, whole(earlier));
}

/** Where to listen to it: at this page's own origin, whatever the service calls itself. */
export function streamOf({ id, url }) {
  const own = new URL(`${pathOf(id)}/events`, BASE), ticket = new URL(url ?? "", BASE).searchParams.get("ticket");
  if (ticket) own.searchParams.set("ticket", ticket);
  return DEMO || ticket ? own : null;
}

/** What a chunk adds to the answer, whatever else it is; `snapshot`: it is all that was said so far. */
export function chunkOf(data) {
  let value;
  try { value = JSON.parse(data); } catch { /* not ours to read */ }
  const choices = Array.isArray(value?.choices) ? value.choices : [];  // usage comes alone, and an error too: the state tells of it
  const delta = choices.find(choice => choice && !choice.index)?.delta ?? {};
  return { text: said(delta.content) || said(delta.refusal), thought: said(delta.reasoning_content) || said(delta.reasoning), model: said(value?.model), snapshot: value?.snapshot === true };
}

const said = content => Array.isArray(content) ? textOf({ content }) : typeof content === "string" ? content : "";
