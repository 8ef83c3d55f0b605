/** The page of events: who listens, and what arrives. */

import { $, BASE, DEMO, call, clock, copy, make, token } from "./api.js";
import { followTarget } from "./publish.js";
import { Stream, json } from "./stream.js";

const MAX_ROWS = 500, MAX_SEEN = 20000;
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
export const list = text => text.split(",").map(part => part.trim()).filter(Boolean);

// ---- The connection -------------------------------------------------------------------------------------------

let user = "", topics = [], opens = 0, openedAt = 0;
let count = {};
const seen = new Set();
const stream = new Stream({ find, heard: receive, tell });

/** A ticket works once, so each stream has a new one. */
async function find(last) {
  const { ticket } = await call("POST", "tickets", { user, topics });
  const url = new URL(`events?ticket=${encodeURIComponent(ticket)}`, BASE);
  if (last) url.searchParams.set("last_event_id", last);
  return url;
}

function tell(state, words) {
  if (state === "open") {
    openedAt = Date.now() - clock.ahead;
    count.reconnects = opens++;
    showCounts();
    words = `Connected as ${user}${topics.length ? `, with ${topics.join(", ")}` : ""}.`;
  }
  show(state, state === "closed" ? `Not connected: ${words}` : words);
}

function show(state, words) {
  if ($("state").textContent !== words) $("state").textContent = words;  // said aloud once
  $("state").dataset.state = state;
  const focus = document.activeElement;
  $("break").disabled = state !== "open" && state !== "connecting";
  $("restore").disabled = state !== "broken";
  if (focus === $("break") && focus.disabled) $("restore").focus();
  if (focus === $("restore") && focus.disabled) $("break").focus();
}

function start() {
  user = $("user").value.trim();
  topics = list($("topics").value);
  opens = 0, count = { received: 0, reconnects: 0, replayed: 0, duplicates: 0 };
  seen.clear();
  $("events").replaceChildren();
  $("last-id").textContent = "";
  showCounts();
  if ($("target").value === "user") $("target-name").value = user;
  followUser();
  stream.close();
  stream.last = "";
  connect(`Connecting as ${user}.`);
}

function connect(words) {
  if (!DEMO && !token()) return show("closed", "Not connected. Enter a token, then connect.");
  show("connecting", words);
  stream.open();
}

function disconnect() {
  stream.close();
  show("broken", "Broken on purpose. Publish something, then restore: it is waiting.");
}

// ---- What arrives ---------------------------------------------------------------------------------------------

function showCounts() {
  for (const [id, value] of Object.entries(count)) $(id).textContent = value;
  $("duplicates").classList.toggle("some", count.duplicates > 0);
}

function receive({ type, data, id }) {
  const gap = type === "gap";
  const missed = !gap && Number(id.split("-")[0]) < openedAt;  // published before this connection opened
  const badges = [];
  if (missed) badges.push(opens > 1 ? "replayed" : "unread");
  if (!gap) {  // a gap may come without an id of its own
    if (seen.has(id)) count.duplicates++, badges.push("duplicate");
    if (seen.add(id).size > MAX_SEEN) seen.delete(seen.values().next().value);
    count.received++;
    count.replayed += missed && opens > 1;
  }
  $("last-id").textContent = id;
  showCounts();
  $("events").prepend(row(id, type, data, badges));
  if ($("events").childElementCount > MAX_ROWS) $("events").lastElementChild.remove();
}

function row(id, name, data, badges) {
  const item = make("li", badges.includes("replayed") ? "event replayed" : "event");
  Object.assign(item.dataset, { id, event: name });
  const meta = make("div", "meta");
  meta.append(make("span", "name", name), make("span", "id", id), ...badges.map(text => make("span", `badge ${text}`, text)));
  meta.append(make("time", "", CLOCK.format()));
  item.append(meta);
  if (name === "gap") item.append(make("p", "note", gapText(json(data))));
  item.append(Object.assign(make("pre", "data", data), { dir: "auto" }));
  return item;
}

function gapText({ requested, oldest, reason }) {
  return `Events after ${requested ?? "an unknown place"} were lost: ${oldest ? `the oldest one kept is ${oldest}` : "none is kept any more"} (${reason}).`;
}

// ---- Event names: an EventSource only hands out events whose name somebody listens to -------------------------

const RESERVED = ["message", "gap"];  // are always heard
let names = new Set();

export function listenTo(name) {
  if (!RESERVED.includes(name)) setNames(new Set([...names, name]));
}

function setNames(wanted, save = true) {
  for (const name of names) if (!wanted.has(name)) stream.ignore(name);
  for (const name of wanted) stream.listen(name);
  names = wanted;
  if (save) localStorage.setItem("pushsvc.names", JSON.stringify([...names]));  // other tabs listen along
  $("names").value = [...names].filter(name => !name.includes(",")).join(", ");
  $("suggestions").replaceChildren(...["message", ...names].map(name => Object.assign(document.createElement("option"), { value: name })));
}

// ---- What to copy, and the wiring -----------------------------------------------------------------------------

function followUser() {
  const name = $("user").value.trim() || "alice";
  const body = JSON.stringify({ user: name, data: "hello" }).replaceAll("'", "'\\''");
  $("curl").textContent = `curl -X POST ${new URL("publish", BASE)} -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '${body}'`;
  for (const chip of $("chips").children) chip.setAttribute("aria-pressed", chip.textContent === name);
}

$("listen-form").addEventListener("submit", event => { event.preventDefault(); start(); });
$("chips").addEventListener("click", event => {
  if (event.target.matches("button")) $("user").value = event.target.textContent, start();
});
$("break").addEventListener("click", disconnect);
$("restore").addEventListener("click", () => connect("Reconnecting, to hear what was missed."));
$("user").addEventListener("input", followUser);
$("names").addEventListener("change", () => setNames(new Set([...list($("names").value), ...[...names].filter(name => name.includes(","))])));
addEventListener("storage", event => {
  if (event.key === "pushsvc.names" && event.newValue) setNames(new Set(JSON.parse(event.newValue)), false);
});
$("copy").addEventListener("click", event => copy(event.target, $("curl").textContent, $("curl")));
$("token").addEventListener("input", () => sessionStorage.setItem("pushsvc.token", token()));

$("token-field").hidden = DEMO;
$("token").value = DEMO ? "" : sessionStorage.getItem("pushsvc.token") ?? "";
const asked = new URLSearchParams(location.search).get("user");
if (asked) $("user").value = asked;
setNames(new Set(JSON.parse(localStorage.getItem("pushsvc.names") ?? '["order.paid", "note", "alert"]')), false);
followTarget();
followUser();
if (DEMO || asked) start();
else show("closed", "Not connected. Enter a token, then connect.");
