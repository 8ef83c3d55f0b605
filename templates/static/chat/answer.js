/** The answer as it comes: picked up, listened to, painted, measured. */

import { $, Problem, call } from "../api.js";
import { chunkOf, memory, pathOf, remember, streamOf } from "./generations.js";
import { learn } from "./history.js";
import { name, rows, show, shown, tell } from "./messages.js";
import { Stream } from "../stream.js";

const RATE_MS = 250;

const stream = new Stream({
  find,
  heard: ({ type, data }) => type === "gap" ? pick(picked) : hear(data),  // who listens anew gets all that was said at once
  tell: (state, words) => state === "open" ? opened() : tell(state === "closed" ? "failed" : state, words),
});
let picked = "";  // the id of what is listened to, or about to be
let begun = null;  // a generation that was asked for just now: its state need not be read
let draft = "", heard = null;  // heard: since when this page listens, and how much it has had since
let frame = 0, pause = 0;

export function hangUp() {
  stream.close();
  still();
}

/** No paint is to come, which would show another draft than the one it was meant for. */
function still() {
  cancelAnimationFrame(frame);
  clearTimeout(pause);
  frame = pause = 0;
}

/** Show a generation as it is now, and listen if it runs. */
export function pick(id, known = null) {
  still();
  if (draft && id === shown?.id) paint();
  hangUp();
  picked = id;
  begun = known;
  stream.last = "";
  if (id !== shown?.id) tell("connecting", "Opening the conversation.");
  stream.open();
}

/** A stream may be refused because the answer is over, so its state is read each time. */
async function find() {
  const id = picked, known = begun;
  begun = null;
  if (known) return streamOf(known);
  let generation;
  try {
    generation = await call("GET", `${pathOf(id)}?include=messages`);
  } catch (problem) {
    if (problem instanceof Problem && !problem.passing && id === picked) missing(id, problem);
    throw problem;
  }
  if (id !== picked) return null;
  const same = shown?.id === id, following = !same || atEnd();
  if (!same) fresh();
  if (generation.state !== "running") ended(generation);
  show(same && draft.startsWith(generation.text) ? { ...generation, text: draft } : generation);  // it never grows shorter
  learn(generation);
  if (following) toEnd();
  return generation.state === "running" ? streamOf(generation) : null;
}

function missing(id, problem) {
  const message = problem.status === 404 ? "This conversation is not kept any more, or it is not yours." : problem.message;
  show({ id, state: "missing", messages: [], text: "", error: { message } });
}

export function fresh() {
  still();
  draft = "";
  heard = null;
}

function opened() {
  remember(picked, { times: (memory(picked).times ?? 0) + 1 });
  tell("open", "Answering, live.");
  measure();
}

function hear(data) {
  if (data.trim() === "[DONE]") return pick(picked);
  const { text, thought, model, snapshot } = chunkOf(data);
  if (model) name(rows.at(-1), shown.model = model);
  if (thought && !draft && !text) tell("open", "The model is reasoning.");
  draft = snapshot ? text : draft + text;
  if (snapshot || !heard) heard = { since: performance.now(), characters: 0, pieces: 0, told: 0 };
  if (!snapshot && text) heard.characters += text.length, heard.pieces++;
  if (!frame && !pause) frame = requestAnimationFrame(paint);  // one for all that comes in between
}

function paint() {
  const begin = performance.now(), following = atEnd();
  frame = 0;
  rows.at(-1)?.prose.show(draft);
  if (following) toEnd();
  $("latest").hidden = atEnd();
  if (heard && begin - heard.told > RATE_MS) heard.told = begin, measure();
  const cost = performance.now() - begin;
  if (cost > 16) pause = setTimeout(() => { pause = 0; paint(); }, 4 * cost);  // a page must stay quick however long the answer is
}

export const atEnd = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 60;
export const toEnd = () => $("scroll").scrollTop = $("scroll").scrollHeight;

// ---- How fast, and how often it was picked up again -----------------------------------------------------------

export function measure() {
  const { rate = 0, times = 0 } = shown?.id ? memory(shown.id) : {};
  const live = shown?.state === "running", usage = shown?.usage;
  const now = live ? heard && heard.pieces / seconds() : rate;
  $("rate").textContent = now > 0 ? `${live || usage?.estimated ? "≈ " : ""}${now.toFixed(now < 10 ? 1 : 0)} tokens/s` : "–";
  $("tokens").textContent = live ? heard?.pieces || "–" : usage?.completion_tokens ? `${usage.estimated ? "≈ " : ""}${usage.completion_tokens}` : "–";
  $("resumes").textContent = Math.max(0, times - 1);
}

const seconds = () => Math.max(performance.now() - heard.since, 1) / 1000;

/** The speed is that of the part this page heard live: of tokens its share, over the time that it took. */
export function ended(generation) {
  if (heard?.characters && generation.id === shown?.id && generation.text)
    remember(generation.id, { rate: (generation.usage?.completion_tokens ?? heard.pieces) * heard.characters / generation.text.length / seconds() });
  fresh();
  if (generation.state === "completed") tell("done", "Complete.");
  else if (generation.state === "cancelled") tell("done", "Stopped.");
  else tell("failed", generation.text ? "It broke off." : "No answer came.");
}
