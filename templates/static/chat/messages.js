/** The conversation that is shown: a row for each message, and one for the answer. */

import { $, DEMO, copy, make, token } from "../api.js";
import { measure } from "./answer.js";
import { ask } from "./chat.js";
import { begins, failed, runs, textOf } from "./generations.js";
import { kept } from "./history.js";
import { Markdown } from "./markdown.js";

export let shown = null;  // the last generation of the conversation; null: a new one
export const rows = [];  // {element, prose, after, role, name}

export function show(generation) {
  shown = generation;
  const asked = generation?.messages ?? [], all = generation ? [...asked, { role: "assistant", content: generation.text }] : [];
  all.forEach((message, n) => {
    const text = textOf(message), last = n === asked.length;
    if (rows[n] && (rows[n].role !== message.role || !(last ? text : rows[n].prose.raw).startsWith(last ? rows[n].prose.raw : text))) drop(n);
    rows[n] ??= addRow(message.role);
    rows[n].prose.show(text);
  });
  drop(all.length);
  markAll();
  $("welcome").hidden = rows.length > 0;
  for (const item of $("history").querySelectorAll("a")) item.ariaCurrent = current(item.dataset.id);
  measure();
  control();
}

const drop = from => rows.splice(from).forEach(row => row.element.remove());
export const current = id => id === shown?.id ? "page" : null;
const origin = (n, text) => kept.find(({ messages, text: said }) => said === text && messages.length === n && begins(shown.messages, messages));

export const markAll = () => rows.forEach((row, n) => {
  const last = n === rows.length - 1;
  mark(row, last ? shown : row.role === "assistant" && origin(n, row.prose.raw), last);
});

function addRow(role) {
  const element = make("li", "message"), text = make("div", "text"), after = make("div", "after");
  const answer = role === "assistant", who = make("h2", answer ? "who" : "unseen", { user: "You", assistant: "Answer" }[role] ?? role);
  element.dataset.role = ["user", "assistant"].includes(role) ? role : "system";
  element.append(who, text, after);
  $("messages").append(element);
  return { element, after, role, who, prose: answer ? new Markdown(text) : new Plain(text) };
}

/** A text as it is, each line in the direction of its words. */
class Plain {
  raw = "";
  constructor(element) { this.element = element; }

  show(text) {
    if (text === this.raw) return;
    this.raw = text;
    this.element.replaceChildren(...text.split(/(?<=\n)/).map(line => Object.assign(make("div", "", line), { dir: "auto" })));
  }
}

/** The model's name, once it is known: some say it with the first chunk, some never. */
export function name(row, model) {
  const words = model || "Answer";
  if (row.who.textContent !== words) row.who.textContent = words;
}

/** The row of an answer says what became of it; that of an older one only while its generation is known. */
function mark(row, generation, last) {
  const { id = "", state = "" } = generation || {};
  if (row.role === "assistant" && generation) name(row, generation.model);
  if (row.marked === `${id} ${state} ${last}`) return;
  row.marked = `${id} ${state} ${last}`;
  Object.assign(row.element.dataset, { id, state });
  row.element.ariaBusy = runs(generation) ? "true" : null;
  row.after.replaceChildren();
  if (!generation || runs(generation)) return;
  if (state === "cancelled") row.after.append(make("span", "badge", "Stopped"));
  if (generation.finish_reason === "length") row.after.append(make("span", "badge", "Cut off at the longest it may be"));
  if (failed(generation)) row.after.append(last ? fault(generation) : make("span", "badge", "Broke off"));
  if (row.prose.raw) row.after.append(button("Copy", "small quiet", event => copy(event.target, row.prose.raw, row.prose.element)));
}

const button = (text, className, act) => {
  const made = Object.assign(make("button", className, text), { type: "button" });
  made.addEventListener("click", act);
  return made;
};

function fault(generation) {
  const [words, detail] = explained(generation), box = make("div", "fault", words);
  if (detail && detail !== words) box.append(make("small", "", `In its own words: ${detail}`));
  if (generation.messages.length) box.append(make("div"), button("Try again", "small", () => ask(generation.messages, generation.key)));
  return box;
}

function explained({ state, error }) {
  const { message = "", status = 0 } = error ?? {};
  if (state === "data_lost") return ["This answer was lost with the server's data.", ""];
  if (state === "producer_lost") return ["The server that was writing this answer went away.", ""];
  if (state === "timeout") return [`It took too long. ${message}`, ""];
  if (state !== "upstream_error" || !status) return [message || "Something went wrong.", ""];
  if (status === 429) return ["The model is busy, or its quota is used up. Wait a little, then try again.", message];
  if (status === 401 || status === 403) return ["The model does not accept the key of this service. Whoever runs it can change that.", message];
  return [status < 500 ? "The model does not accept this question." : "The model's server is in trouble. Try again later.", message];
}

export function tell(state, text) {
  if ($("state").textContent !== text) $("state").textContent = text;  // said aloud once
  $("state").dataset.state = state;
}

export function control() {
  const focused = document.activeElement;
  $("send").disabled = runs(shown) || (!DEMO && !token());
  $("stop").hidden = shown?.state !== "running";
  if (focused === $("stop") && $("stop").hidden) $("prompt").focus();
}
