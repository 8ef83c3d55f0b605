// Listens with one of npm's libraries, or with the runtime's own EventSource, and prints a line of JSON for each event:
//   node listen.mjs LIBRARY URL [TOKEN]
// With a token the library sends it in a header; without, the URL brings a ticket.
import { createRequire } from "node:module";
import process from "node:process";

const [library, url, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};

const print = (line) => console.log(JSON.stringify(line));
const heard = (event) => print({ id: event.lastEventId ?? event.id, data: event.data });
const placed = (event) => print({ cursor: event.lastEventId ?? event.id });
const take = (event) => {
  if (event.event === "cursor") placed(event);
  else if ((event.event || "message") === "message") heard(event);
};

// For what has the interface of EventSource.
function listen(source) {
  source.addEventListener("message", heard);
  source.addEventListener("cursor", placed); // a wrapper learns its place only from events that somebody listens for
  source.onerror = (error) => {
    const said = String(error?.message ?? error?.status ?? "error");
    setTimeout(() => print({ error: said, closed: source.readyState === 2 })); // some close only after they told
  };
}

// How eventsource 3 and newer are given headers.
const options = {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
};

class Refused extends Error {}

function fetchEventSource(more) {
  // It is made for pages.
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  return createRequire(import.meta.url)("@microsoft/fetch-event-source").fetchEventSource(url, {
    headers,
    openWhenHidden: true,
    onmessage: take,
    ...more,
  });
}

async function eventSourceClient(more = {}) {
  const { createEventSource } = await import("eventsource-client");
  return createEventSource({
    url,
    headers,
    onMessage: take,
    ...more,
  });
}

const libraries = {
  own: async () => listen(new EventSource(url)),
  eventsource2: async () => listen(new (await import("eventsource2")).default(url, { headers })),
  eventsource3: async () => listen(new (await import("eventsource3")).EventSource(url, options)),
  eventsource4: async () => listen(new (await import("eventsource4")).EventSource(url, options)),
  eventsource5: async () => listen(new (await import("eventsource5")).EventSource(url, options)),
  "event-source-polyfill": async () => {
    const { EventSourcePolyfill } = (await import("event-source-polyfill")).default;
    listen(new EventSourcePolyfill(url, { headers }));
  },
  "reconnecting-eventsource": async () => {
    const { EventSource } = await import("eventsource4");
    const { default: ReconnectingEventSource } = createRequire(import.meta.url)("reconnecting-eventsource");
    listen(new ReconnectingEventSource(url, { eventSourceClass: EventSource, ...options }));
  },
  "reconnecting-eventsource, lines": async () => {
    const { EventSource } = await import("eventsource4");
    const { default: ReconnectingEventSource } = createRequire(import.meta.url)("reconnecting-eventsource");
    class Telling extends EventSource {
      constructor(...given) {
        super(...given);
        this.addEventListener("error", (event) => {
          if (event.code !== 401) return;
          source.close();
          print({ error: "refused", closed: true });
        });
      }
    }
    const source = new ReconnectingEventSource(url, { eventSourceClass: Telling, ...options });
    listen(source);
  },
  "@microsoft/fetch-event-source": async () => {
    await fetchEventSource({ onerror: (error) => print({ error: error.message }) });
    print({ error: "it ended", closed: true });
  },
  "@microsoft/fetch-event-source, lines": () =>
    fetchEventSource({
      async onopen(response) {
        if (!response.ok) throw new Refused(response.status);
      },
      onclose() {
        throw new Error("it ended"); // so it comes back
      },
      onerror(error) {
        if (error instanceof Refused) throw error; // so it stops
      },
    }),
  "eventsource-client": () => eventSourceClient({ onDisconnect: () => print({ error: "disconnected" }) }),
  "eventsource-client, lines": async () => {
    const source = await eventSourceClient({
      async fetch(input, init) {
        const response = await fetch(input, init);
        if (response.status === 401) {
          source.close();
          print({ error: "refused", closed: true });
        }
        return response;
      },
    });
  },
};

setInterval(() => {}, 1e9); // as in a program that does more: the timers of some libraries do not keep one alive
libraries[library]().catch((error) => print({ error: String(error.message), closed: true }));
