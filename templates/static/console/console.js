/** Who is signed in, and the beat at which the charts move. */

import { $, ask, token } from "../api.js";
import { add } from "./board.js";
import { list, refresh } from "./people.js";
import "./probe.js";
import { Scrape } from "./prometheus.js";

const EVERY_MS = 2000, LIST_EVERY = 5, KEPT = "pushsvc.console";
let timer = 0, beats = 0, round = 0;  // what belongs to an older round is dropped

function say(state, words) {
  if ($("state").textContent !== words) $("state").textContent = words;  // said aloud once
  $("state").dataset.state = state;
}

async function beat(mine) {
  try {
    const text = await (await ask("GET", "metrics")).text();
    if (mine !== round) return;
    add(new Scrape(text, performance.now()));
    if ($("sign-in").hidden) say("open", "Live.");
    else enter();
    if (++beats % LIST_EVERY === 0 && !document.hidden) refresh();  // all workers are asked
    showTimeLeft();
  } catch (problem) {
    if (mine !== round) return;
    if (problem.status === 401 || problem.status === 403) return leave(why(problem));
    say("connecting", `${problem.message || "The answer broke off."} The next try is in two seconds.`);
  }
  timer = setTimeout(beat, EVERY_MS, mine);
}

function why({ status, message }) {
  if (secondsLeft() <= 0) return "The token has expired. Enter a new one to go on; what the charts have stays.";
  return status === 403 ? `This token is not an admin’s: ${message}` : message;
}

function signIn() {
  clearTimeout(timer);
  if (token()) say("connecting", "Signing in.");
  if (token()) beat(++round);
}

function enter() {
  sessionStorage.setItem(KEPT, token());
  $("sign-in").hidden = true;
  $("sign-out").hidden = $("inside").hidden = false;
  say("open", "Live.");
  list();
}

/** The form is back. What was shown stays if the token ended, and goes if its owner signed out. */
function leave(words) {
  clearTimeout(timer);
  round++;
  sessionStorage.removeItem(KEPT);
  $("token").value = $("left").textContent = "";
  $("sign-in").hidden = false;
  $("sign-out").hidden = true;
  say("failed", words);
  $("token").focus();
}

/** By the token's claim `exp` and this browser's clock; only the service knows. */
function secondsLeft() {
  try {
    return JSON.parse(atob(token().split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).exp - Date.now() / 1000;
  } catch {
    return NaN;
  }
}

function showTimeLeft() {
  const left = secondsLeft();
  $("left").textContent = left > 0 ? `Token good for ${left > 5400 ? `${Math.round(left / 3600)} h` : left > 90 ? `${Math.round(left / 60)} min` : `${Math.round(left)} s`}` : "";
}

$("sign-in").addEventListener("submit", event => { event.preventDefault(); signIn(); });
$("sign-out").addEventListener("click", () => {
  leave("Signed out.");
  location.reload();  // nothing stays in the page
});
$("token").value = sessionStorage.getItem(KEPT) ?? "";
signIn();
