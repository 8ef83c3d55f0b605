/** The chat page: asking, stopping, where we are, and the wiring. */

import { $, DEMO, call, token } from "../api.js";
import { atEnd, ended, fresh as forget, hangUp, pick, toEnd } from "./answer.js";
import { PATH, pathOf, whole } from "./generations.js";
import { learn, kept, read, readMore, watch } from "./history.js";
import { control, show, shown, tell } from "./messages.js";

// ---- Asking, and stopping -------------------------------------------------------------------------------------

export let busy = false;
let attempt = 0;  // an answer to an older one is dropped
const uuid = () => crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join("-");  // absent without TLS

function submit(text) {
  if (busy || $("send").disabled) return;
  if (!text.trim()) return $("prompt").focus();
  if ($("prompt").value === text) $("prompt").value = "", grow();
  ask([...(shown ? whole(shown) : []), { role: "user", content: text }]);
}

/** With a key that was used before the service answers with what it began then: a repeat is harmless. */
export async function ask(messages, key = uuid(), model = shown?.model) {
  if (busy) return;
  busy = true;
  const mine = leave(), body = { messages, stream: true, stream_options: { include_usage: true }, ...(model && { model }) };
  sessionStorage.setItem("pushsvc.web.answers.completions", JSON.stringify([messages, key, model]));  // for a reload right now
  forget();
  show({ id: "", state: "asking", messages, text: "", model });
  tell("connecting", "Asking.");
  toEnd();
  let begun, refused;
  try {
    begun = await call("POST", PATH, body, { "Idempotency-Key": key });
  } catch (problem) {
    refused = problem;
  }
  busy = false;
  if (!refused?.passing) sessionStorage.removeItem("pushsvc.web.answers.completions");
  if (mine !== attempt) return;  // another conversation was opened meanwhile; this one is in the history
  if (refused) {
    show({ ...shown, state: "unsent", key, error: { message: `Your message was not sent. ${refused.message}` } });
    return tell("failed", "Not sent.");
  }
  address(begun.id);
  show({ ...shown, id: begun.id, state: "running", created: Math.max(Date.now() / 1000, kept[0]?.created ?? 0) });
  learn(shown);
  pick(begun.id, begun);
}

async function stop() {
  const { id } = shown;
  if ($("stop").disabled) return;
  $("stop").disabled = true;
  try {
    const generation = await call("DELETE", `${pathOf(id)}?include=messages`);
    if (shown?.id !== id) return;
    hangUp();
    ended(generation);
    show(generation);
    learn(generation);
  } catch (problem) {
    tell("open", `Not stopped: ${problem.message}`);
  } finally {
    $("stop").disabled = false;
  }
}

// ---- Where we are: the address names the conversation ---------------------------------------------------------

export const address = (id, add = !location.hash) => history[add ? "pushState" : "replaceState"](null, "", id ? `#${id}` : location.pathname + location.search);

function travel() {
  const id = location.hash.slice(1);
  if (id && id === shown?.id) return;
  drawer(false);
  if (id) open(id);
  else fresh();
}

function leave() {
  hangUp();
  return ++attempt;
}

function open(id) {
  leave();
  pick(id);
}

function fresh() {
  leave();
  sessionStorage.removeItem("pushsvc.web.answers.completions");
  show(null);
  tell("idle", "Ready.");
  $("prompt").focus();
}

function begin() {
  const asking = JSON.parse(sessionStorage.getItem("pushsvc.web.answers.completions") ?? "null");
  if (asking) ask(...asking);  // the page was left before the service said which generation this is
  else if (location.hash) open(location.hash.slice(1));
  else control();
  $("prompt").focus();
  watch();
}

// ---- Wiring ---------------------------------------------------------------------------------------------------

const drawn = () => document.body.classList.contains("drawer");

function drawer(open) {
  document.body.classList.toggle("drawer", open);
  $("menu").setAttribute("aria-expanded", open);
  for (const part of $("main").children) part.inert = open;
  if (open) $("new").focus();
  else if ($("side").contains(document.activeElement)) $("menu").focus();
}

function grow() {
  $("prompt").style.height = "";  // setting it from a script is not what the CSP forbids
  $("prompt").style.height = `${$("prompt").scrollHeight}px`;
}

/** Safari ends a composition before the keydown of the Enter that confirmed it, and tells so by 229 alone. */
const composes = event => event.isComposing || event.keyCode === 229;

$("form").addEventListener("submit", event => { event.preventDefault(); submit($("prompt").value); });
$("prompt").addEventListener("input", grow);
$("prompt").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !composes(event)) event.preventDefault(), submit($("prompt").value);
});
$("chips").addEventListener("click", event => { if (event.target.matches("button")) submit(event.target.textContent); });
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", () => { drawer(false); address("", true); fresh(); });
$("more").addEventListener("click", readMore);
$("menu").addEventListener("click", () => drawer(true));
$("latest").addEventListener("click", toEnd);
$("scroll").addEventListener("scroll", () => $("latest").hidden = atEnd(), { passive: true });
addEventListener("keydown", event => {
  if (event.key !== "Escape" || composes(event)) return;
  if (drawn()) drawer(false);
  else if (!$("stop").hidden) stop();
});
addEventListener("click", event => { if (drawn() && !event.target.closest("#side, #menu")) drawer(false); });
matchMedia("(min-width: 761px)").addEventListener("change", () => drawer(false));
addEventListener("hashchange", travel);
addEventListener("visibilitychange", watch);
addEventListener("focus", () => { if (!DEMO) read(); });
$("token-form").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("pushsvc.token", token());
  begin();
});

$("token-form").hidden = DEMO;
$("token").value = DEMO ? "" : sessionStorage.getItem("pushsvc.token") ?? "";
if (DEMO || token()) begin();
else control(), $("token").focus(), tell("idle", "Enter a token, then ask.");
