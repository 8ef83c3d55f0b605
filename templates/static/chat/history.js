/** What was asked before, here and in other tabs. */

import { $, BASE, DEMO, call, make, token } from "../api.js";
import { pick } from "./answer.js";
import { address, busy } from "./chat.js";
import { PATH, continues, pathOf, runs, textOf } from "./generations.js";
import { current, markAll, shown, tell } from "./messages.js";
import { Stream, json } from "../stream.js";

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export let kept = [];  // newest first
let oldest = "", queue = Promise.resolve();

const known = id => kept.find(each => each.id === id);

export function learn(...generations) {
  const fresh = generations.filter(each => !known(each.id)), changed = new Map(generations.map(each => [each.id, each]));
  kept = [...fresh, ...kept.map(each => changed.get(each.id) ?? each)].sort((a, b) => Math.floor(b.created) - Math.floor(a.created));
  list();
  markAll();  // answers that were not known before
  follow();
}

/** If the conversation that is shown went on elsewhere, go on here too. */
function follow() {
  if (!shown?.id || runs(shown) || busy) return;
  const newer = kept.slice(0, Math.max(0, kept.findIndex(each => each.id === shown.id))).find(each => continues(each, shown));
  if (!newer) return;
  address(newer.id);
  pick(newer.id);
}

async function refresh(after = "") {
  const page = await call("GET", `${PATH}?include=messages&limit=20${after && `&after=${after}`}`);
  if (after || !oldest) oldest = page.last_id ?? "", $("more").hidden = !page.has_more;
  learn(...page.data);
}

export async function read(after) {
  if (!DEMO && !token()) return;
  try {
    await refresh(after);
  } catch (problem) {
    unread(problem.message);
  }
}

export const readMore = () => read(oldest);

function unread(why) {
  if (!runs(shown)) tell("failed", `The history cannot be read. ${why}`);
}

function list() {
  const focused = document.activeElement?.closest?.("#history a")?.dataset.id;
  const latest = kept.filter((each, n) => !kept.slice(0, n).some(later => continues(later, each)));
  $("history").replaceChildren(...latest.map(item));
  if (focused) $("history").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function item({ id, state, messages, created }) {
  const entry = make("li"), link = Object.assign(make("a", "item"), { href: `#${id}` }), at = new Date(created * 1000);
  const title = textOf(messages.findLast(each => each.role === "user") ?? {}).trim().split("\n")[0] || "Without words";
  const when = at.toDateString() === new Date().toDateString() ? TIME.format(at) : DAY.format(at);
  const became = { running: "answering", completed: "answered", cancelled: "stopped" }[state] ?? "not answered";
  link.append(Object.assign(make("b", "", title), { dir: "auto" }), make("small", "", `${when}, ${became}`));
  Object.assign(link.dataset, { id, state });
  link.ariaCurrent = current(id);
  entry.append(link);
  return entry;
}

// ---- What begins and ends elsewhere ---------------------------------------------------------------------------

const news = new Stream({
  find: async () => {
    await refresh();  // what it would not tell of, since it was before; and how it ends, if the cookie has
    return new URL(`${PATH}/events`, BASE);
  },
  heard: ({ type, data }) => queue = queue.then(() => type === "gap" ? read() : renew(json(data))),  // in their order
  tell: (state, words) => state === "closed" && unread(words),
});
news.listen("generation");

/** Only while the page is seen: a browser holds six connections to a server for all its tabs. */
export function watch() {
  if (!DEMO) return read();  // an EventSource can send no token
  if (document.hidden) news.close();
  else news.open();
}

async function renew({ id, state }) {
  if (!id || known(id)?.state === state) return;
  try {
    learn(await call("GET", `${pathOf(id)}?include=messages`));
  } catch { /* the next time the list is read it is there */ }
}
