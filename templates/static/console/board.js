/** Which charts there are, and which metrics they show. */

import { $ } from "../api.js";
import { Chart, count, seconds } from "./chart.js";
import { growth, quantile, rate } from "./prometheus.js";

const WINDOW = 6;  // scrapes over which latencies are taken: of fewer, a quiet service has none to show

const latency = name => (before, after, oldest) => [.5, .99].map(share => quantile(share, oldest, after, name));
const TRANSPORTS = [["sse", "SSE"], ["websocket", "WebSocket"], ["long_poll", "long poll"], ["answer", "answer"]];

/** Each with what it shows of two scrapes, and of the oldest one of the window. */
const BOARD = [
  [new Chart("Connections", TRANSPORTS.map(([, name]) => name)),
    (before, after) => TRANSPORTS.map(([label]) => after.sum("pushsvc_connections", "transport", label)),
    (before, after) => `${count(after.sum("pushsvc_connections"))} in all`],
  [new Chart("Users", ["users"]), (before, after) => [after.sum("pushsvc_users")], () => "once in each worker"],
  [new Chart("Workers", ["workers"]), (before, after) => [after.sum("pushsvc_workers")], () => "of this host"],
  [new Chart("Comings and goings a second", ["began", "ended"]),
    (before, after) => [rate(before, after, "pushsvc_joins_total"), rate(before, after, "pushsvc_connection_ends_total")]],
  [new Chart("Published a second", ["new", "duplicate", "refused"]),
    (before, after) => ["new", "duplicate", "refused"].map(result => rate(before, after, "pushsvc_published_total", "result", result))],
  [new Chart("Delivered a second", ["live", "replayed"]),
    (before, after) => [rate(before, after, "pushsvc_delivered_total"), rate(before, after, "pushsvc_replayed_total")], fanOut],
  [new Chart("From publish to delivery", ["median", "99 %"], { format: seconds }), latency("pushsvc_delivery_seconds"), () => "events of 10 s"],
  [new Chart("Redis round trips", ["median", "99 %"], { format: seconds }), latency("pushsvc_redis_seconds"),
    (before, after) => `${count(rate(before, after, "pushsvc_redis_seconds_count") ?? 0)} a second`],
  [new Chart("Lag of announcements", ["median", "99 %"], { format: seconds }), latency("pushsvc_bus_lag_seconds")],
  [new Chart("Slow cuts and gaps", ["slow cuts", "gaps", "heals"], { sums: true }),
    (before, after) => [growth(before, after, "pushsvc_connection_ends_total", "reason", "slow", "stuck"),
      growth(before, after, "pushsvc_gaps_total"), growth(before, after, "pushsvc_heals_total")], () => "in 5 minutes"],
  [new Chart("Model’s answers", ["being made"]), (before, after) => [after.sum("pushsvc_generating")],
    (before, after) => answers(after)],
  [new Chart("Hooks", ["waiting"]), (before, after) => [after.sum("pushsvc_hooks_waiting")],
    (before, after) => `${count(after.sum("pushsvc_hooks_total"))} tries`],
];

/** How many connections an event went to. */
function fanOut(before, after, oldest) {
  const published = growth(oldest, after, "pushsvc_published_total", "result", "new"), delivered = growth(oldest, after, "pushsvc_delivered_total");
  return published && delivered !== null ? `fan-out ${count(delivered / published)}` : "";
}

/** How many ended, and how, since the service began. */
function answers(after) {
  const ended = (...states) => after.sum("pushsvc_generations_total", ...states);
  const done = ended("state", "completed"), cancelled = ended("state", "cancelled");
  return `${count(done)} done, ${count(cancelled)} cancelled, ${count(ended() - done - cancelled)} failed`;
}

let scrapes = [];

export function add(scrape) {
  scrapes = [...scrapes.slice(1 - WINDOW), scrape];
  const before = scrapes.at(-2) ?? scrape;
  for (const [chart, values, note] of BOARD) {
    const shown = values(before, scrape, scrapes[0]).map(value => Number.isNaN(value) ? null : value);
    chart.add(shown, note?.(before, scrape, scrapes[0]) ?? "");
  }
}

$("charts").append(...BOARD.map(([chart]) => chart.figure));
