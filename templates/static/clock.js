addEventListener("pageshow", listen);

function listen() {
  const clock = new EventSource("demo/clock");
  clock.onmessage = event => show(event.data);
  clock.addEventListener("end", event => { show(event.data); clock.close(); });
  clock.onerror = () => { show("reconnecting …"); if (clock.readyState === 2) setTimeout(listen, 2000); };
  addEventListener("pagehide", () => clock.close());
}

function show(text) { document.getElementById("time").textContent = text; }
