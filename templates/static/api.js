/** The way to the service, and what every page needs to show what it says. */

export const DEMO = document.documentElement.dataset.demo === "true";  // the browser's cookie is the credential
export const BASE = new URL("..", import.meta.url);  // the service may live under a path
const TIMEOUT_MS = 15000;

export const $ = id => document.getElementById(id);
export const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), className && { className }, { textContent: text });
export const jitter = ms => ms * (0.5 + Math.random());  // not everybody at once

export class Problem extends Error {
  constructor(message, status = 0, retryAfter = 0) { super(message); Object.assign(this, { status, retryAfter }); }
  get passing() { return this.status === 0 || this.status === 429 || this.status >= 500; }
}

export const token = () => $("token").value.trim();
export const clock = { ahead: 0 };  // ms by which this browser's clock is ahead of the server's

/** The answer's JSON. Throws a Problem, in one sentence for people. */
export async function call(...asked) {
  const response = await ask(...asked);
  try {
    return await response.json();
  } catch {  // it broke off, or somebody else answered
    throw new Problem("The answer cannot be read.");
  }
}

/** The answer. Throws a Problem. */
export async function ask(method, path, body, headers = {}) {
  if (!DEMO) headers.Authorization = `Bearer ${token()}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, BASE), { method, headers, cache: "no-store", body: body && JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Problem("The service cannot be reached.");
  }
  if (!response.ok) throw new Problem(words(response, await response.json().catch(() => ({}))), response.status, Number(response.headers.get("Retry-After")) || 0);
  const ahead = Date.now() - Date.parse(response.headers.get("Date"));
  clock.ahead = Math.abs(ahead) > 2000 ? ahead : 0;  // the header counts whole seconds
  return response;
}

function words({ status, statusText }, { error, detail = error?.message ?? `${status} ${statusText}`.trim(), errors = {} }) {
  if (status === 401 && DEMO) return "This page was open for too long. Reload it to go on.";
  if (status === 401) return `The token is not accepted: ${detail}`;
  const more = Object.entries(errors).filter(([, what]) => !detail.includes(what)).map(([field, what]) => `${field}: ${what}`);
  return [detail, ...more].join(" ");
}

export async function copy(pressed, text, shown) {
  const label = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {  // not a secure context, or not allowed
    getSelection().selectAllChildren(shown);
    pressed.textContent = "Selected, now copy it";
  }
  setTimeout(() => pressed.textContent = label, 2000);
}
