// pushsvc's browser client: see index.d.ts.
(() => {
  const SLOW = 20_000, SILENT = 180_000, PAUSE = 30_000, KEPT = 5000; // ms; events

  const now = () => performance.now();
  const order = (id, other) => { // above 0: `id` is later
    const [ms, seq] = id.split("-"), [than, place] = other.split("-");
    return ms - than || parseInt(seq) - parseInt(place);
  };
  const allowed = attempt => {
    try { return attempt(); } catch {}
  };
  const parse = data => allowed(() => JSON.parse(data));

  // One EventSource at a time; another one where the browser gives up, or does not notice.
  function makeStream(options, hear, tell) {
    const names = new Set(["message", "cursor", "gap", "refused", "heartbeat"]);
    let source, timer, from = "", refusal = "", attempt = 0, tries = 0;
    let beat = 0, sign = 0; // ms between heartbeats; when this connection last gave a sign
    let deaf = 0; // connections in vain: after two, a proxy keeps streams back, and short ones are asked for

    async function open(after = from) {
      const mine = close();
      from = after;
      tell("connecting");
      expect(SLOW, "No ticket came.");
      try {
        const given = await options.ticket();
        if (mine !== attempt) return;
        if (!given) return tell("closed", "There is no ticket.");
        const ticket = given.trim ? { url: given } : given, { since = "unread" } = options;
        if (!ticket.url) throw Error(ticket.detail || "The ticket has no url.");
        const url = new URL(ticket.url, document.baseURI), set = (name, value) => url.searchParams.set(name, value);
        if (since === "ticket") from ||= ticket.cursor;
        if (from) set("last_event_id", from);
        else set("since", since);
        set("heartbeat", "event"); // comments are not seen
        if (deaf++ > 1) set("wait", 5);
        if (options.ack !== false) set("ack", "manual");
        stream.url = url.href;
        source = new EventSource(url);
        for (const name of names) source.addEventListener(name, receive);
        source.addEventListener("error", lost);
        expect(SLOW, "Nothing came: do other tabs hold all connections?");
      } catch (error) {
        if (mine === attempt) later(error.message, error.retryAfter);
      }
    }

    function close() {
      clearTimeout(timer);
      source = source?.close();
      sign = 0;
      return ++attempt; // what belongs to an older one is dropped
    }
    function later(why, seconds = 0) {
      close();
      const pause = Math.min(1000 * 2 ** tries++, PAUSE) * (0.5 + Math.random());
      timer = setTimeout(open, Math.max(pause, 1000 * seconds));
      tell("waiting", why);
    }
    function expect(ms, why) { // no engine gives up a connection that hangs
      clearTimeout(timer);
      timer = setTimeout(later, ms, why);
    }

    // The browser itself comes back, unless no stream answered; Firefox gives up when nothing does, too.
    function lost(event) {
      if (event.target !== source || event.data !== undefined) return;
      if (source.readyState === 2) return later(refusal || "Refused.");
      if (!/wait=/.test(stream.url)) {
        sign = 0;
        tell("waiting", refusal || "Connection lost.");
      }
      expect(refusal ? SILENT : SLOW, "No answer.");
    }
    function receive({ type: name, data, lastEventId: raw, target }) {
      if (target !== source || data === undefined) return;
      if (name === "refused") {
        const { detail, status } = parse(data) || {};
        refusal = detail || "Refused.";
        return status === 401 || status === 403 ? later(refusal) : undefined;
      }
      if (name === "heartbeat" && sign) beat = Math.max(beat, now() - sign);
      if (!sign) tell("open");
      sign = now();
      tries = deaf = 0;
      refusal = "";
      expect(beat ? Math.min(3 * beat + 5000, SILENT) : SILENT, "Silence.");
      const id = raw.split("~")[0]; // what follows ~ opens the stream again, and is not for URLs
      from = id || from;
      if (name !== "heartbeat") hear({ name, data, id, raw });
    }

    function listen(name) { // a browser drops events whose name nobody listens to; true: so it may have
      if (names.has(name)) return false;
      names.add(name);
      source?.addEventListener(name, receive);
      return !!source;
    }
    const stream = { names, open, close, listen, url: "" };
    return stream;
  }

  /** @type {typeof import("./index.d.ts").connect} */
  function connect(options) {
    const { share, remember = true } = options, place = remember && `pushsvc:${share}:cursor`;
    let group = share && navigator.locks && `pushsvc:${share}`;
    const me = Math.random(), listeners = new Map(), seen = new Set();
    let last = place && allowed(() => sessionStorage.getItem(place)) || "", floor = last;
    let state, opened, over, leads, sign = 0, unacked, acks, pings, channel, wish, release;
    let ring = [], whole = ""; // lately; after this id it has all
    let joining; // the tabs' cursors, while a new leader asks for them

    const stream = makeStream(options, event => { // of a tab that leads
      if (event.name === "cursor") whole ||= event.id;
      else if (channel && ring.push(event) > 500) whole = ring.shift().id;
      say({ t: "event", event });
      take(event);
    }, told);

    function wire(act) {
      for (const name of ["pagehide", "freeze"]) act(name, shut, true);
      for (const name of ["pageshow", "resume"]) act(name, open, true);
      act("visibilitychange", ping, true);
    }

    function open() {
      if (over || opened) return;
      opened = true;
      channel = allowed(() => group ? new BroadcastChannel(group) : undefined);
      if (!channel) return lead();
      leads = false;
      channel.onmessage = message;
      ask();
      join();
      pings = setInterval(ping, PAUSE);
    }

    // Chromium keeps pages that were left, and their streams.
    function shut() {
      if (!opened) return;
      opened = false;
      flush();
      clearInterval(pings);
      stream.close();
      wish?.abort();
      release?.();
      channel = channel?.close();
    }

    function ask(how) { // to lead
      wish?.abort();
      const { signal } = wish = new AbortController();
      navigator.locks.request(group, how || { signal }, () => new Promise(done => {
        release = done;
        signal.aborted ? done() : lead();
      })).catch(error => {
        if (signal.aborted) return;
        shut();
        if (error.name !== "AbortError") group = ""; // no tab took it: it is denied
        open();
      });
    }
    async function lead() {
      leads = true;
      const mine = joining = [last];
      say({ t: "lead" });
      if (channel) await new Promise(done => setTimeout(done, 100));
      if (joining !== mine || !leads || !opened) return;
      joining = undefined;
      begin(mine.filter(Boolean).sort(order)[0] || "");
    }
    const begin = from => stream.open(whole = from, ring = []); // each tab drops what it had
    const say = what => channel?.postMessage(what);
    const join = () => say({ t: "join", me, from: last, names: [...stream.names] });

    function ping() { // a tab that leads may hang
      if (!opened || leads || document.hidden) return;
      const asked = now();
      say({ t: "ping" });
      setTimeout(() => opened && !leads && sign < asked && ask({ steal: true }), SLOW);
    }
    function message({ data: what }) {
      const { t } = what;
      if (leads) {
        if (t === "ping") say({ t: "pong" });
        if (t === "ran") ack(what.raw);
        if (t === "join") joined(what);
      } else if (t !== "ping" && t !== "ran" && t !== "join") {
        sign = now();
        if (t === "lead") join();
        if (t === "event") take(what.event);
        if (t === "state") told(what.state, what.why);
        if (t !== "welcome" || what.to !== me) return;
        if (!last) last = floor = what.last;
        what.events.forEach(take);
        if (what.state !== state) told(what.state);
      }
    }

    function joined({ me: to, from, names }) {
      const fresh = names.filter(stream.listen)[0]; // such events may have been dropped
      if (joining) return joining.push(from);
      if (from && (fresh || order(from, whole || from) < 0)) begin(from);
      say({ t: "welcome", to, last, state, events: from ? ring.filter(({ id }) => order(id, from) > 0) : [] });
    }

    function take({ name, data, id, raw }) {
      const gap = name === "gap" && parse(data);
      if (gap?.reason === "reset") floor = last = ""; // what was heard is of other data
      const further = !last || order(id, last) > 0;
      if (name === "cursor") floor ||= id;
      else if (gap ? !further : seen.has(id) || floor && order(id, floor) <= 0) return;
      if (further) last = id;
      if (name !== "cursor") {
        seen.add(id);
        if (seen.size > KEPT) seen.delete(seen.keys().next().value);
        const ran = tell(name, parse(data) ?? data, { id, name, data });
        if (ran) leads ? ack(raw) : say({ t: "ran", raw });
      }
      if (place) allowed(() => sessionStorage.setItem(place, last));
    }
    function told(value, why = "") {
      if (value === "closed") shut();
      else if (leads) say({ t: "state", state: value, why });
      state = value;
      tell("", value, why);
    }
    function tell(name, ...given) {
      return [...listeners.get(name) || []].filter(listener => {
        try { return listener(...given), true; } catch (error) { reportError(error); }
      }).length;
    }

    function ack(raw) {
      if (options.ack === false || unacked && order(raw, unacked) < 0) return;
      unacked = raw;
      acks ||= setTimeout(flush, 300);
    }
    async function flush() {
      const id = unacked, url = stream.url && new URL(stream.url), ticket = url?.searchParams.get("ticket");
      clearTimeout(acks);
      acks = unacked = "";
      if (!id || !url) return;
      url.pathname = url.pathname.replace(/events$/, "ack");
      url.search = ticket ? `ticket=${ticket}` : "";
      const headers = { "Content-Type": "application/json" }, body = JSON.stringify({ id });
      const { status } = await fetch(url, { method: "POST", keepalive: true, headers, body }).catch(Response.error);
      if (over || status && status < 429) return;
      unacked ||= id;
      acks ||= setTimeout(flush, PAUSE);
    }

    function on(name, listener) {
      const all = listeners.get(name) || new Set();
      listeners.set(name, all.add(listener));
      if (name) stream.listen(name);
      if (opened && !leads) join();
      return () => all.delete(listener);
    }

    wire(addEventListener);
    queueMicrotask(open); // once the page has added its listeners
    return {
      get state() { return state; },
      on, onGap: listener => on("gap", listener), onState: listener => on("", listener),
      close() {
        over = true;
        wire(removeEventListener);
        shut();
        told("closed", "By the page.");
      },
    };
  }

  Object.assign(globalThis, { pushsvc: { connect } });
})();
