/** Markdown as models write it, while they write it: blocks of a growing text. */

import { make } from "../api.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-+*]|\d{1,9}[.)])( +|$)/;
const COLUMNS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const TASK = /^\[([ xX])\] /;
const MOST_DEPTH = 8;  // of lists and quotes in each other
const TOP_LEVEL = 3;  // of headings: h1 is the page's, h2 that of each message

/** Shows a text in an element. Only its last block is made anew, since nothing that follows a block changes it. */
export class Markdown {
  constructor(element) { this.element = element; this.#clear(); }

  #settled;  // where the blocks that may still change begin
  #open;  // these
  #level;  // of the heading before them

  #clear() {
    this.raw = "";
    this.#settled = 0;
    this.#open = [];
    this.#level = TOP_LEVEL - 1;
    this.element.replaceChildren();
  }

  show(text) {
    if (text === this.raw) return;
    if (!text.startsWith(this.raw)) this.#clear();
    this.raw = text;
    const lines = text.slice(this.#settled).split("\n"), found = new Parser(this.#level).blocks(lines);
    for (const node of this.#open) node.remove();
    // What parts two blocks stays between them: so the characters of plain paragraphs are those of the answer.
    const shown = found.map(({ node, end }, n) => [node, new Text(gap(lines, end, found[n + 1]?.begin))]);
    this.element.append(...shown.flat());
    // A line that is not complete may turn out not to be a new block: then the one before it goes on.
    const last = Math.max(0, found.at(-1)?.begin === lines.length - 1 ? found.length - 2 : found.length - 1);
    this.#open = shown.slice(last).flat();
    if (!found.length) return;
    this.#settled += lines.slice(0, found[last].begin).reduce((length, line) => length + line.length + 1, 0);
    this.#level = found[last].level;
  }
}

/** Each block method takes lines and where to begin, and gives a node and where it ends; or nothing. */
class Parser {
  constructor(level, depth = 0) { Object.assign(this, { level, depth }); }

  blocks(lines) {
    const found = [];
    for (let begin = 0; begin < lines.length;) {
      const level = this.level, line = lines[begin];
      if (!line.trim()) { begin++; continue; }
      const [node, end] = this.fence(lines, begin) ?? this.heading(line, begin) ?? this.rule(line, begin) ?? this.quote(lines, begin)
        ?? this.list(lines, begin) ?? this.table(lines, begin) ?? this.paragraph(lines, begin);
      found.push({ node, begin, end, level });
      begin = end;
    }
    return found;
  }

  within(lines) {
    const inner = new Parser(this.level, this.depth + 1), nodes = inner.blocks(lines).map(block => block.node);
    this.level = inner.level;
    return nodes;
  }

  fence(lines, begin) {
    const opening = FENCE.exec(lines[begin]);
    if (!opening) return null;
    const [, marks, language] = opening, indent = lines[begin].search(/[^ ]/), code = [];
    let end = begin + 1;
    for (; end < lines.length; end++) {
      const closing = FENCE.exec(lines[end]);
      if (closing && closing[1].startsWith(marks) && !closing[2].trim()) break;
      code.push(lines[end].slice(Math.min(indent, Math.max(0, lines[end].search(/[^ ]|$/)))));
    }
    const node = Object.assign(make("pre"), { dir: "ltr", tabIndex: 0 });
    node.dataset.language = language.trim().split(/\s/)[0];
    node.append(make("code", "", code.join("\n")));
    return [node, end + 1];
  }

  /** No level is left out, whatever the model does: who moves by headings would look for what is missing. */
  heading(line, begin) {
    const found = HEADING.exec(line);
    if (!found) return null;
    this.level = Math.min(found[1].length + TOP_LEVEL - 1, this.level + 1, 6);
    const text = (found[2] ?? "").replace(/(^|[ \t]+)#+[ \t]*$/, "").trim();
    return text ? [block(`h${this.level}`, text), begin + 1] : null;
  }

  rule(line, begin) { return RULE.test(line) ? [make("hr"), begin + 1] : null; }

  quote(lines, begin) {
    if (this.depth >= MOST_DEPTH || !QUOTE.test(lines[begin])) return null;
    const inner = [];
    let end = begin;
    for (; end < lines.length && lines[end].trim(); end++) {
      if (!QUOTE.test(lines[end]) && this.begins(lines[end])) break;
      inner.push(lines[end].replace(QUOTE, ""));
    }
    const node = make("blockquote");
    node.append(...this.within(inner));
    return [node, end];
  }

  list(lines, begin) {
    const first = this.depth < MOST_DEPTH && ITEM.exec(spaced(lines[begin]));
    if (!first) return null;
    const kind = first[2].at(-1), node = make(/\d/.test(first[2]) ? "ol" : "ul"), items = [];
    if (node.tagName === "OL") node.start = parseInt(first[2]);
    let end = begin, loose = false;
    while (end < lines.length) {
      const mark = ITEM.exec(spaced(lines[end]));
      if (!mark || mark[2].at(-1) !== kind || RULE.test(lines[end])) break;
      const [inner, next] = this.item(lines, end, mark);
      let blank = 0;
      while (inner.length && !inner.at(-1).trim()) inner.pop(), blank++;
      loose ||= inner.some(line => !line.trim()) || blank > 0 && ITEM.exec(spaced(lines[next] ?? ""))?.[2].at(-1) === kind;
      items.push(inner);
      end = next;
    }
    node.append(...items.map(inner => this.entry(inner, loose)));
    return [node, end];
  }

  /** The lines of an item without what indents them. Models indent by two where three are due. */
  item(lines, begin, mark) {
    const deep = mark[1].length + 2, width = mark[3].length <= 4 && mark[3] ? mark[0].length : mark[1].length + mark[2].length + 1;
    const inner = [spaced(lines[begin]).slice(width)];
    let end = begin + 1;
    for (; end < lines.length; end++) {
      const line = spaced(lines[end]), indent = line.search(/[^ ]|$/);
      if (line.trim() && indent < Math.min(deep, width) && (!inner.at(-1).trim() || this.begins(line) || ITEM.test(line))) break;
      inner.push(line.slice(Math.min(indent, width)));
    }
    return [inner, end];
  }

  entry(lines, loose) {
    const item = make("li"), task = TASK.exec(lines[0] ?? "");
    if (task) lines = [`${task[1] === " " ? "☐" : "☑"} ${lines[0].slice(task[0].length)}`, ...lines.slice(1)];
    const [first, ...rest] = this.within(lines);
    if (first) item.append(...(first.tagName === "P" && !loose ? first.childNodes : [first]), ...rest);
    item.dir = "auto";
    return item;
  }

  table(lines, begin) {
    if (!lines[begin].includes("|") || !COLUMNS.test(lines[begin + 1] ?? "") || !lines[begin + 1].includes("-")) return null;
    const head = cells(lines[begin]), columns = cells(lines[begin + 1]);
    if (head.length !== columns.length) return null;
    const align = columns.map(cell => cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "");
    const row = (texts, tag) => {
      const made = make("tr");
      made.append(...align.map((side, n) => block(texts[n] ? tag : "td", texts[n] ?? "", side)));
      return made;
    };
    const top = make("thead"), body = make("tbody"), table = make("table");
    top.append(row(head, "th"));
    let end = begin + 2;
    for (; end < lines.length && lines[end].trim() && !this.begins(lines[end]); end++) body.append(row(cells(lines[end]), "td"));
    table.append(top, body);
    const node = Object.assign(make("div", "wide"), { tabIndex: 0 });
    node.append(table);
    return [node, end];
  }

  paragraph(lines, begin) {
    let end = begin + 1;
    while (end < lines.length && lines[end].trim() && !this.begins(lines[end]) && !this.table(lines, end)) end++;
    return [block("p", lines.slice(begin, end).map(line => line.replace(/\r$/, "")).join("\n")), end];
  }

  /** Whether a line cannot go on with the paragraph before it. */
  begins(line) {
    if (FENCE.test(line) || RULE.test(line) || HEADING.exec(line)?.[2]?.trim()) return true;
    return this.depth < MOST_DEPTH && (QUOTE.test(line) || /^ *(?:[-+*]|1[.)]) +[^ ]/.test(line));
  }
}

/** Its text says in which direction a block runs. */
function block(tag, text, className = "") {
  const made = make(tag, className);
  made.append(...inline(text));
  made.dir = "auto";  // last: the browser looks for a letter each time that something is added
  return made;
}

/** From a block's last line to the next block, or to the end. */
const gap = (lines, end, next) => end > lines.length ? "" : ["", ...lines.slice(end, next), ...(next ? [""] : [])].join("\n");

const spaced = line => line.replace(/^[ \t]+/, blank => blank.replaceAll("\t", "    "));
const cells = line => line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map(cell => cell.trim().replaceAll("\\|", "|"));
