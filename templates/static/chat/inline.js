/** Markdown within a line: emphasis, code, links. Makes nodes, so that nothing a model says is ever read as HTML. */

import { make } from "../api.js";

const SPECIAL = /[\\`*_~[!<]|https?:\/\//g;
const ESCAPED = /[!-/:-@[-`{-~]/;
const TARGET = /\(\s*(?:<([^<>\n]*)>|([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*))(?:\s+(?:"[^"\n]*"|'[^'\n]*'))?\s*\)/y;
const AUTOLINK = /<(https?:\/\/[^\s<>]*)>/y;
const BARE = /https?:\/\/[^\s<>"`]+/y;
const MOST_LABEL = 1000, MOST_TARGET = 2000, MOST_OPEN = 50;  // characters; runs: what is odd must not be slow
const SPACE = /^\s?$/, PUNCTUATION = /[\p{P}\p{S}]/u, TAGS = ["", "em", "strong"];

export function inline(text, linked = false) {
  const parts = [], unclosed = new Set();  // runs of backticks that nothing closes
  let plain = 0, at = 0;
  const add = (part, end) => {
    if (plain < at) parts.push(text.slice(plain, at));
    parts.push(part);
    plain = at = end;
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    if (!found) break;
    at = found.index;
    const made = token(text, at, unclosed, linked);
    if (made) add(...made);
    else at += found[0].length;
  }
  at = text.length;
  if (plain < at) parts.push(text.slice(plain));
  return emphasised(parts);
}

/** What begins there, and where it ends; undefined: nothing but text. */
function token(text, at, unclosed, linked) {
  switch (text[at]) {
    case "\\": return ESCAPED.test(text[at + 1] ?? "") ? [text[at + 1], at + 2] : undefined;
    case "`": return code(text, at, unclosed);
    case "*": case "_": case "~": return run(text, at);
    case "[": return link(text, at, at, linked);
    case "!": return text[at + 1] === "[" ? link(text, at, at + 1, linked) : undefined;  // a picture would be fetched: show where it is
    case "<": return /^<br ?\/?>/i.test(text.slice(at, at + 6)) ? ["\n", text.indexOf(">", at) + 1] : address(text, at, AUTOLINK, linked);
    default: return linked || /\w/.test(text[at - 1] ?? "") ? undefined : address(text, at, BARE, linked);
  }
}

function code(text, at, unclosed) {
  const ticks = /`+/y;
  ticks.lastIndex = at;
  const fence = ticks.exec(text)[0];
  if (unclosed.has(fence)) return [fence, at + fence.length];
  for (let end = text.indexOf(fence, at + fence.length); end >= 0; end = text.indexOf(fence, end)) {
    ticks.lastIndex = end;
    const length = ticks.exec(text)[0].length;
    if (length === fence.length) return [make("code", "", text.slice(at + length, end).replace(/^ (.*[^ ].*) $/s, "$1")), end + length];
    end += length;
  }
  unclosed.add(fence);
  return [fence, at + fence.length];
}

function link(text, at, bracket, linked) {
  if (linked) return undefined;
  let depth = 0, end = bracket;
  for (const most = Math.min(text.length, bracket + MOST_LABEL); end < most; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === "[") depth++;
    else if (text[end] === "]" && --depth === 0) break;
  }
  if (text[end] !== "]" || text[end + 1] !== "(") return undefined;
  TARGET.lastIndex = 0;
  const found = TARGET.exec(text.slice(end + 1, end + 1 + MOST_TARGET)), made = found && anchor(found[1] ?? found[2]);
  if (!made) return undefined;
  made.append(...inline(text.slice(bracket + 1, end), true));
  if (!made.textContent.trim()) made.textContent = made.href;
  return [made, end + 1 + found[0].length];
}

function address(text, at, pattern, linked) {
  if (linked) return undefined;
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  if (!found) return undefined;
  const bare = pattern === BARE;
  let href = bare ? found[0].replace(/[.,;:!?'*_~\]]+$/, "") : found[1];
  if (bare && href.endsWith(")") && !href.includes("(")) href = href.replace(/\)[.,;:!?)'*_~\]]*$/, "");
  const made = anchor(href);
  made?.append(href);
  return made && [made, bare ? at + href.length : at + found[0].length];
}

/** Only to other sites: no script, no file, no path of the service. */
function anchor(href) {
  const url = URL.canParse(href) ? new URL(href) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) return undefined;
  return Object.assign(make("a"), { href: url.href, rel: "noopener noreferrer nofollow", target: "_blank" });
}

// ---- Emphasis: a run of marks that can close takes the nearest that can open ------------------------------------

function run(text, at) {
  const mark = text[at];
  let end = at;
  while (text[end] === mark) end++;
  const before = text[at - 1] ?? "", after = text[end] ?? "";
  const opens = !SPACE.test(after), closes = !SPACE.test(before);
  const word = mark === "_" && opens && closes;  // snake_case is no emphasis
  return [{ mark, count: end - at, opens: opens && !(word && !PUNCTUATION.test(before)), closes: closes && !(word && !PUNCTUATION.test(after)) }, end];
}

function emphasised(parts) {
  const open = [{ mark: "", left: 0, nodes: [] }];
  for (const part of parts) {
    if (!part.mark) {
      open.at(-1).nodes.push(part);
      continue;
    }
    let left = part.closes ? close(open, part) : part.count;
    if (left && part.opens && open.length < MOST_OPEN) open.push({ mark: part.mark, left, nodes: [] });
    else if (left) open.at(-1).nodes.push(part.mark.repeat(left));
  }
  flatten(open, 0);
  return open[0].nodes;
}

/** How many of the run's marks are left. */
function close(open, { mark, count }) {
  const pair = mark === "~";
  while (count > 0 && !(pair && count !== 2)) {
    const at = open.findLastIndex(each => each.mark === mark && (!pair || each.left === 2));
    if (at < 1) break;
    flatten(open, at);
    const opener = open[at], size = Math.min(opener.left, count, 2), made = make(pair ? "del" : TAGS[size]);
    made.append(...opener.nodes.splice(0));
    opener.nodes.push(made);
    opener.left -= size;
    count -= size;
    if (!opener.left) open[at - 1].nodes.push(...open.pop().nodes);
  }
  return count;
}

/** What was opened above there, and never closed, is text. */
function flatten(open, at) {
  while (open.length > at + 1) {
    const { mark, left, nodes } = open.pop();
    open.at(-1).nodes.push(mark.repeat(left));
    for (const node of nodes) open.at(-1).nodes.push(node);
  }
}
