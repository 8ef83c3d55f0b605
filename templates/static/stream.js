/** A stream that lives on, whatever ends it. */

import { Problem, jitter } from "./api.js";

const SLOW_MS = 5000, HUNG_MS = 20000, MOST_SILENT_MS = 180000, MOST_PAUSE_MS = 15000;

/**
 * An EventSource gives up for good at any answer that is no stream, and Firefox's also where nobody answers at all. None
 * notices a connection that hangs, and Chromium's goes on listening while its page waits in the back/forward cache, where
 * it takes the events that the next page should hear. So this one opens another, which goes on after the last id.
 */
export class Stream {
  last = "";  // the id after which it goes on
  #source = null;
  #attempt = 0;  // what belongs to an older one is dropped
  #tries = 0;
  #timer = 0;
  #wanted = false;
  #spoke = false;  // the service did, on this connection
  #refusal = "";
  #names = new Set(["message", "gap", "cursor", "refused", "heartbeat"]);

  /**
   * `find`: gives, or promises, the URL to listen at (none: it is over); may throw a Problem. `heard`: is called with the
   * type, data and id of each event. `tell`: is called with a state (connecting, open, closed) and words for people.
   */
  constructor({ find, heard, tell = () => {} }) {
    Object.assign(this, { find, heard, tell });
    addEventListener("pagehide", () => this.#hangUp());
    addEventListener("pageshow", event => event.persisted && this.#wanted && this.open());
  }

  listen(name) {  // a browser drops events whose name nobody listens to
    this.#names.add(name);
    this.#source?.addEventListener(name, this.#receive);  // twice is once
  }

  ignore(name) {
    this.#names.delete(name);
    this.#source?.removeEventListener(name, this.#receive);
  }

  close() {
    this.#wanted = false;
    this.#tries = 0;
    this.#hangUp();
  }

  async open() {
    const mine = this.#hangUp();
    this.#wanted = true;
    let url;
    try {
      url = await this.find(this.last);
    } catch (problem) {
      if (mine !== this.#attempt) return;
      if (!(problem instanceof Problem)) throw problem;
      return problem.passing ? this.#later(problem.message, problem.retryAfter) : this.#end(problem.message);
    }
    if (mine !== this.#attempt) return;
    if (!url) return this.close();
    url.searchParams.set("heartbeat", "event");  // a page cannot see the others, which are comments
    this.#source = new EventSource(url);
    this.#sign = performance.now();
    for (const name of this.#names) this.#source.addEventListener(name, this.#receive);
    this.#source.addEventListener("error", this.#lost);
    this.#expect(SLOW_MS, () => this.#slow());
  }

  #hangUp() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#spoke = false;
    return ++this.#attempt;
  }

  #end(words) {
    this.close();
    this.tell("closed", words);
  }

  #later(why, least = 0) {
    this.#hangUp();
    const ms = Math.max(least * 1000, jitter(Math.min(1000 * 2 ** this.#tries++, MOST_PAUSE_MS)));
    this.tell("connecting", `${why} Next try in ${(ms / 1000).toFixed(1)} s.`);
    this.#timer = setTimeout(() => this.open(), ms);
  }

  // A publisher may call an event "error" too; that is a MessageEvent, the browser's own is not.
  #lost = event => {
    if (event instanceof MessageEvent || event.target !== this.#source) return;
    if (this.#source.readyState === EventSource.CLOSED) return this.#later(this.#refusal || "The stream was refused.");
    this.tell("connecting", this.#refusal || "Connection lost. The browser reconnects and asks for what it missed.");
    this.#spoke = false;
    this.#expect(SLOW_MS, () => this.#slow());
  };

  #receive = event => {
    if (!(event instanceof MessageEvent) || event.target !== this.#source) return;
    if (event.type === "refused") return this.#refused(event.data);
    this.last = event.lastEventId.split("~")[0] || this.last;  // what follows ~ is for nobody but the browser
    if (!this.#spoke) this.#opened();
    this.#watch(event.type === "heartbeat");
    if (event.type !== "cursor" && event.type !== "heartbeat") this.heard({ type: event.type, data: event.data, id: this.last });
  };

  /** Not at the browser's own `open`: what is refused for now begins like that, too. */
  #opened() {
    this.#spoke = true;
    this.#refusal = "";
    this.#tries = 0;
    this.tell("open", "Connected.");
  }

  /** The browser comes back by itself when the service said; only what is for good ends it. */
  #refused(data) {
    const { detail = "The service has no room.", status = 503 } = json(data);
    if (status === 401 || status === 403) return this.#end(detail);
    this.#refusal = detail;
    this.tell("connecting", detail);
    clearTimeout(this.#timer);
  }

  // ---- None of the engines has a time-out ----------------------------------------------------------------------

  #sign = 0;  // of life: when the last one came
  #pause = 0;  // ms that the service is silent before a heartbeat, once that is known (or that this machine slept)

  #expect(ms, otherwise) {
    clearTimeout(this.#timer);
    if (!this.#refusal) this.#timer = setTimeout(otherwise, ms);
  }

  #slow() {
    this.tell("connecting", "Still no answer. Over HTTP/1.1 a browser holds six connections to a server for all of its tabs: others may hold them.");
    this.#expect(HUNG_MS - SLOW_MS, () => this.open());
  }

  #watch(heartbeat) {
    const now = performance.now();
    if (heartbeat) this.#pause = Math.max(this.#pause, now - this.#sign);
    this.#sign = now;
    clearTimeout(this.#timer);
    if (this.#pause) this.#expect(Math.min(Math.max(HUNG_MS, 3 * this.#pause), MOST_SILENT_MS), () => this.open());
  }
}

export function json(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value ? value : {};
  } catch {
    return {};
  }
}
