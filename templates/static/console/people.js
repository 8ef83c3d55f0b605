/** Who is connected, one user's last events, and the end of their connections. */

import { $, call, make } from "../api.js";

const PAGE = 50, EVENTS = 10, NEWEST = "9999999999999-0";
const TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "short", timeStyle: "medium" });
let next = "", person = "", before = NEWEST;
let shown = {}, rows = "";  // what the list was asked for, and what it has

/** Show a page of those who are here. `after`: the name that it follows. */
export function list(after = "") {
  shown = { user: $("name").value.trim(), after };
  return refresh();
}

/** Ask for the same page again. */
export async function refresh() {
  const asked = shown, { user, after } = asked;
  try {
    const { users, next: following, silent = [] } = await call("GET", `presence?${new URLSearchParams({ limit: PAGE, ...(user ? { user } : { after }) })}`);
    if (asked !== shown) return;
    if (rows !== (rows = JSON.stringify(users))) fill(users);
    next = following ?? "";
    say("people-note", summary(user, users, silent));
  } catch (problem) {
    if (asked === shown) say("people-note", problem.message);
  }
  $("next").disabled = !next;
  $("first").disabled = !after;
}

/** The focus stays with its user. */
function fill(users) {
  const focus = document.activeElement.closest("#people button")?.textContent;
  $("people").replaceChildren(...users.map(row));
  if (focus !== undefined) [...$("people").querySelectorAll("button")].find(each => each.textContent === focus)?.focus();
}

function say(where, words) {
  if ($(where).textContent !== words) $(where).textContent = words;  // said aloud once
}

function summary(user, users, silent) {
  const workers = new Set(users.flatMap(each => each.workers));
  const missing = silent.length ? ` No answer from ${silent.join(", ")}.` : "";
  if (!users.length) return `${user ? `${user} is not here.` : "Nobody is here."}${missing}`;
  return `${users.length} ${users.length === 1 ? "user" : "users"} on this page, on ${workers.size} ${workers.size === 1 ? "worker" : "workers"}.${missing}`;
}

function row({ user, connections, since, workers }) {
  const line = make("tr"), name = make("td"), open = make("button", "name", user);
  open.type = "button";
  open.addEventListener("click", () => show(user));
  name.append(open);
  line.append(name, make("td", "number", connections), make("td", "", since ? TIME.format(new Date(since)) : "–"), make("td", "mono", workers.join(" ")));
  return line;
}

async function show(user) {
  person = user;
  before = NEWEST;
  $("h-person").textContent = user;
  $("person-note").textContent = "";
  $("past").replaceChildren();
  $("person").hidden = false;
  $("person").focus();
  await older();
}

async function older() {
  const user = person;
  try {
    const answer = await call("GET", `history?${new URLSearchParams({ channel: `user:${user}`, before, limit: EVENTS })}`);
    if (user !== person) return;
    $("past").append(...answer.events.reverse().map(past));
    if (!$("past").childElementCount) $("person-note").textContent = "No events are kept for this user.";
    before = answer.next ?? "";
    $("older").hidden = !before;
  } catch (problem) {
    $("person-note").textContent = problem.message;
  }
}

function past({ id, event, data }) {
  const item = make("li"), meta = make("div", "row");
  meta.append(make("b", "", event), make("span", "mono muted", id), make("time", "muted", TIME.format(new Date(Number(id.split("-")[0])))));
  item.append(meta, Object.assign(make("pre", "", data), { dir: "auto" }));
  return item;
}

async function cut() {
  const user = person, voids = $("void").checked;
  if (!confirm(`End all connections of ${user}${voids ? ", and void the user's tokens" : ""}?`)) return;
  try {
    const { connections } = await call("DELETE", `connections?${new URLSearchParams({ user, ...(voids && { tokens: "void" }) })}`);
    $("person-note").textContent = `Cut off: ${user} had ${connections} ${connections === 1 ? "connection" : "connections"}.`;
    await list();
  } catch (problem) {
    $("person-note").textContent = problem.message;
  }
}

$("find").addEventListener("submit", event => { event.preventDefault(); list(); });
$("first").addEventListener("click", () => list());
$("next").addEventListener("click", () => list(next));
$("older").addEventListener("click", older);
$("cut").addEventListener("click", cut);
