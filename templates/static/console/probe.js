/** A test event: the page listens as a user, publishes, and tells when each step was done. */

import { $, BASE, call, make } from "../api.js";
import { seconds } from "./chart.js";

const NAME = "console.test", PATIENCE_MS = 15000;
let source = null;

async function send(user) {
  const begin = performance.now(), steps = [], mark = crypto.getRandomValues(new Uint32Array(2)).join("-");
  const done = what => {
    steps.push([what, performance.now() - begin]);
    $("way").replaceChildren(...steps.map(([text, ms], at) => step(text, ms, steps[at - 1]?.[1] ?? 0, steps.at(-1)[1])));
  };
  source?.close();
  $("way").replaceChildren();
  $("probe-note").textContent = "Under way.";
  const { ticket } = await call("POST", "tickets", { user });
  done("ticket given");
  const mine = source = new EventSource(new URL(`events?ticket=${encodeURIComponent(ticket)}`, BASE));
  await heard(mine, "cursor", () => true);
  done("stream open");
  const arrived = heard(mine, NAME, data => data === mark).then(() => done("arrived at this page"));
  arrived.catch(() => {});  // it is awaited below, but only after the answer
  const sent = performance.now();
  const { id } = await call("POST", "publish", { user, event: NAME, data: mark });
  done(`publisher told: ${id}`);
  await arrived;
  $("probe-note").textContent = `Arrived ${seconds((begin + steps.find(([what]) => what.startsWith("arrived"))[1] - sent) / 1000)} after it was sent, as event ${id}.`;
}

/** The event of this name whose data is `wanted`. Throws at the stream's end, or when it does not come. */
function heard(stream, name, wanted) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`Nothing arrived within ${PATIENCE_MS / 1000} seconds.`)), PATIENCE_MS);
    const end = (settle, value) => { clearTimeout(timer); settle(value); };
    stream.addEventListener(name, ({ data }) => wanted(data) && end(resolve));
    stream.addEventListener("refused", ({ data }) => end(reject, new Error(JSON.parse(data).detail)));
    stream.addEventListener("error", event => event instanceof MessageEvent || end(reject, new Error("The stream broke off.")));
  });
}

function step(text, ms, from, all) {
  const item = make("li"), bar = make("span", "span");
  bar.style.marginInlineStart = `${100 * from / all}%`;
  bar.style.width = `${100 * (ms - from) / all}%`;
  const track = make("span", "track");
  track.append(bar);
  item.append(make("span", "", text), make("span", "number", seconds(ms / 1000)), track);
  return item;
}

$("probe").addEventListener("submit", async event => {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  try {
    await send($("to").value.trim());
  } catch (problem) {
    $("probe-note").textContent = `Not delivered: ${problem.message}`;
  } finally {
    source?.close();
    if (button) button.disabled = false;
  }
});
