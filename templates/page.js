let events, cursor = "";
async function listen() {
  try {
    const ticket = await (await fetch("/your-backend/ticket", { cache: "no-store" })).json();  // of POST /tickets
    // the first time, read and show your own state here: after the ticket was made, and before its cursor is used
    events?.close();
    events = new EventSource(`${ticket.url}&last_event_id=${cursor ||= ticket.cursor ?? ""}`);
    for (const name of ["cursor", "message", "order.paid", "gap"]) events.addEventListener(name, heard);
    events.onerror = () => events.readyState === EventSource.CLOSED && later();
  } catch { later(); }
}
const later = () => setTimeout(listen, 1000 + 2000 * Math.random());
const heard = (event) => {
  cursor = event.lastEventId.split("~")[0] || cursor;
  if (event.type !== "cursor") show(event.data, event.type);
};
addEventListener("pagehide", () => events?.close());
addEventListener("pageshow", (event) => event.persisted && listen());
listen();
