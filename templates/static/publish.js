/** The form that publishes. */

import { $, call } from "./api.js";
import { list, listenTo } from "./index.js";

async function send(times) {
  const target = $("target").value, name = $("event-name").value.trim() || "message", data = $("data").value, key = $("key").value;
  const body = { [target]: target === "all" ? true : $("target-name").value.trim(), event: name, ...(key && { key }) };
  listenTo(name);  // before the event can arrive
  const plain = times === 1 || /^\s*[[{]/.test(data);  // numbers show the order, but would spoil JSON
  const ids = [];
  let duplicates = 0;
  tell(times === 1 ? "Sending." : `Sending ${times}.`);
  $("events").scrollIntoView({ block: "nearest" });  // on a phone they are above
  try {
    for (let n = 1; n <= times; n++) {
      const answer = await call("POST", "publish", { ...body, data: plain ? data : `${data} ${n}` });
      ids.push(answer.id);
      duplicates += answer.duplicate ? 1 : 0;
    }
  } catch (problem) {
    return tell(`${ids.length ? `${ids.length} of ${times} published, then: ` : "Not published: "}${problem.message}`, true);
  }
  if (times > 1) tell(`Sent ${times}, ids ${ids[0]} to ${ids.at(-1)}${duplicates ? `, ${duplicates} of them duplicate (same key)` : ""}.`);
  else tell(duplicates ? `Duplicate: this key already published ${ids[0]}, so nothing was sent.` : `Published with id ${ids[0]}`);
}

function tell(text, bad = false) {
  $("answer").textContent = text;
  $("answer").classList.toggle("error", bad);
}

export function followTarget() {
  const target = $("target").value;
  $("target-label").textContent = target === "topic" ? "Topic" : "User";
  $("target-name").disabled = target === "all";
  $("target-name").value = { user: $("user").value.trim(), topic: list($("topics").value)[0] ?? "news", all: "" }[target];
}

$("publish-form").addEventListener("submit", event => { event.preventDefault(); send(1); });
$("send5").addEventListener("click", () => send(5));
$("target").addEventListener("change", followTarget);
