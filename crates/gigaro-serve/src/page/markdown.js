// Markdown into nodes. Whatever a model writes becomes text, or one of the elements below; addresses are http and https only, and pictures
// are links, since nothing is loaded from elsewhere.
//
// A text that grows is rendered again and again: top-level blocks whose source has not changed keep their nodes.

import { copyButton, element } from "./dom.js";

/** Deeper nesting is text. */
const DEPTH = 12;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?\s*#*\s*$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)(.*)$/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** The source of each top-level node. */
const sources = new WeakMap();

/** Shows `text` in `container`. */
export function render(container, text) {
  const blocks = split(text.replaceAll("\r\n", "\n").split("\n"));
  blocks.forEach((block, i) => {
    const old = container.children[i];
    const source = `${block.kind}\n${block.lines.join("\n")}`;
    if (old && sources.get(old) === source) return;
    const made = make(block, 0);
    sources.set(made, source);
    if (old) old.replaceWith(made);
    else container.append(made);
  });
  while (container.children.length > blocks.length) container.lastElementChild.remove();
}

/** Cuts lines into blocks: what each is, and the lines that it is made of. */
function split(lines) {
  const blocks = [];
  let i = 0;
  const take = (kind, end, more = {}) => {
    blocks.push({ kind, lines: lines.slice(i, end), ...more });
    i = end;
  };
  while (i < lines.length) {
    const line = lines[i];
    const fence = FENCE.exec(line);
    if (!line.trim()) i++;
    else if (fence) take("code", fenceEnd(lines, i, fence[1]), { mark: fence[1], language: fence[2].trim().split(/\s+/)[0] });
    else if (HEADING.test(line)) take("heading", i + 1);
    else if (RULE.test(line)) take("rule", i + 1);
    else if (QUOTE.test(line)) take("quote", while_(lines, i, (next) => next.trim() && (QUOTE.test(next) || !begins(next))));
    else if (ITEM.test(line)) take("list", listEnd(lines, i));
    else if (isTable(lines, i)) take("table", while_(lines, i, (next) => next.includes("|") && next.trim()));
    else take("paragraph", while_(lines, i + 1, (next, at) => next.trim() && !begins(next) && !isTable(lines, at)));
  }
  return blocks;
}

/** Whether a line begins another block and so ends a paragraph. */
const begins = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);

const isTable = (lines, i) => lines[i].includes("|") && i + 1 < lines.length && lines[i + 1].includes("-")
  && DIVIDER.test(lines[i + 1]) && cells(lines[i]).length === cells(lines[i + 1]).length;

function while_(lines, start, holds) {
  let end = start;
  while (end < lines.length && holds(lines[end], end)) end++;
  return Math.max(end, start);
}

/** The line after a block of code; the end of the text while its end has not been written yet. */
function fenceEnd(lines, start, mark) {
  const closes = (line) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], "") === "";
  const end = while_(lines, start + 1, (line) => !closes(line));
  return Math.min(end + 1, lines.length);
}

/** The line after a list: items of its kind, what is indented under them, and lines that go on with a paragraph. */
function listEnd(lines, start) {
  const first = ITEM.exec(lines[start]);
  const ordered = /\d/.test(first[2]);
  let end = start + 1;
  while (end < lines.length) {
    const line = lines[end];
    const item = ITEM.exec(line);
    const indent = line.search(/\S/);
    if (indent < 0) {
      // An empty line belongs to the list if the list goes on after it.
      const next = lines.slice(end).find((later) => later.trim());
      const further = next !== undefined && (next.search(/\S/) > first[1].length || sameList(ITEM.exec(next), first, ordered));
      if (!further) break;
    } else if (indent <= first[1].length && (item ? !sameList(item, first, ordered) || RULE.test(line) : begins(line) || !lines[end - 1].trim())) break;
    end++;
  }
  return end;
}

const sameList = (item, first, ordered) => item && item[1].length <= first[1].length + 1 && /\d/.test(item[2]) === ordered;

/** The node of a block. */
function make(block, depth) {
  const text = block.lines.join("\n");
  if (depth > DEPTH) return element("p", {}, text);
  switch (block.kind) {
    case "code": return code(block);
    case "heading": {
      const [, marks, words = ""] = HEADING.exec(text);
      // The page has its own first two levels.
      return element(`h${Math.min(6, marks.length + 2)}`, {}, ...inline(words, 0));
    }
    case "rule": return element("hr");
    case "quote": return element("blockquote", {}, ...inner(block.lines.map((line) => line.replace(QUOTE, "")), depth));
    case "list": return list(block.lines, depth);
    case "table": return table(block.lines);
    default: return element("p", {}, ...inline(text.split("\n").map((line) => line.trimStart()).join("\n"), 0));
  }
}

const inner = (lines, depth) => split(lines).map((block) => make(block, depth + 1));

function code({ lines, mark, language }) {
  const last = lines.at(-1).trim();
  const closed = lines.length > 1 && last.startsWith(mark) && last.replaceAll(mark[0], "") === "";
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  const head = element("div", { class: "code-head" }, element("span", {}, language || "text"), copyButton(() => text, "Copy code"));
  const body = element("pre", { tabindex: "0", role: "group", "aria-label": language ? `Code, ${language}` : "Code" }, element("code", {}, text));
  return element("div", { class: "code" }, head, body);
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const items = [];
  let width = 0;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= first[1].length + 1) {
      width = item[1].length + item[2].length + 1;
      items.push([item[3]]);
    } else {
      // What is indented less than the words goes on with them.
      const indent = line.search(/\S/);
      items.at(-1).push(line.slice(Math.min(width, Math.max(indent, 0))));
    }
  }
  const loose = items.some((item, i) => item.some((line, j) => !line.trim() && (j < item.length - 1 || i < items.length - 1)));
  const made = items.map((item) => {
    const task = /^\[([ xX])\] +/.exec(item[0]);
    if (task) item[0] = `${task[1] === " " ? "☐" : "☑"} ${item[0].slice(task[0].length)}`;
    const nodes = inner(item, depth).flatMap((node) => (!loose && node.localName === "p" ? [...node.childNodes] : [node]));
    return element("li", { class: task ? "task" : undefined }, ...nodes);
  });
  const start = ordered && parseInt(first[2], 10) !== 1 ? parseInt(first[2], 10) : undefined;
  return element(ordered ? "ol" : "ul", { start }, ...made);
}

/** The cells of a line of a table; a stroke after a backslash is text. */
function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines) {
  const head = cells(lines[0]);
  const sides = cells(lines[1]).map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "middle" : "right") : ""));
  const row = (texts, name) => element("tr", {}, ...head.map((_, i) => (
    element(name, { class: sides[i], scope: name === "th" ? "col" : undefined }, ...inline(texts[i] ?? "", 0)))));
  const body = lines.slice(2).map((line) => row(cells(line), "td"));
  const made = element("table", {}, element("thead", {}, row(head, "th")), element("tbody", {}, ...body));
  return element("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, made);
}

/** The address, if it is one that may be followed. */
function address(text) {
  if (!/^https?:\/\//i.test(text)) return null;
  try { return new URL(text).href; } catch { return null; }
}

function link(href, ...children) {
  return element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}

const PAIRS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const WORD = /[\p{L}\p{N}]/u;

/** Text with emphasis, code and links as nodes. */
function inline(text, depth) {
  const nodes = [];
  let plain = "";
  let i = 0;
  /** Marks for which there is no end in the rest of the text. */
  const endless = new Set();
  const put = (node, end) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
    i = end;
  };
  const special = () => {
    const c = text[i];
    if (c === "\n") return put(element("br"), i + 1), true;
    if (c === "\\" && i + 1 < text.length && /[!-/:-@[-`{-~\n]/.test(text[i + 1])) {
      if (text[i + 1] === "\n") return put(element("br"), i + 2), true;
      plain += text[i + 1];
      i += 2;
      return true;
    }
    if (c === "`") return span();
    if (c === "[" || (c === "!" && text[i + 1] === "[")) return bracket();
    if (c === "<" || c === "h") return bare();
    return PAIRS.some(([mark, name]) => text.startsWith(mark, i) && emphasis(mark, name));
  };
  const span = () => {
    const mark = /^`+/.exec(text.slice(i, i + 40))[0];
    if (endless.has(mark)) return plain += mark, i += mark.length, true;
    let end = i + mark.length;
    for (;;) {
      end = text.indexOf(mark, end);
      if (end < 0) {
        endless.add(mark);
        return plain += mark, i += mark.length, true;
      }
      const run = /^`+/.exec(text.slice(end, end + 40))[0].length;
      if (run === mark.length) break;
      end += run;
    }
    const words = text.slice(i + mark.length, end).replaceAll("\n", " ");
    put(element("code", {}, /^ .*[^ ].* $/.test(words) ? words.slice(1, -1) : words), end + mark.length);
    return true;
  };
  const bracket = () => {
    const start = text[i] === "!" ? i + 2 : i + 1;
    const found = /^((?:[^[\]\\]|\\.|\[[^\]]*\]){0,1000})\]\(\s*<?([^\s<>]{1,2000}?)>?(?:\s+["'][^\n]{0,500}["'])?\s*\)/.exec(text.slice(start, start + 4000));
    const href = found && address(found[2]);
    if (!href) return false;
    put(link(href, ...(depth < DEPTH ? inline(found[1], depth + 1) : [found[1]])), start + found[0].length);
    return true;
  };
  const bare = () => {
    if (i > 0 && WORD.test(text[i - 1])) return false;
    const found = /^<?(https?:\/\/[^\s<>]{1,2000})>?/i.exec(text.slice(i, i + 2100));
    if (!found) return false;
    // A full stop or a bracket after an address is the sentence's.
    const words = found[0].startsWith("<") ? found[1] : found[1].replace(/[.,:;!?'"*_~)\]]+$/, "");
    const href = address(words);
    if (!href) return false;
    put(link(href, words), i + (found[0].startsWith("<") ? found[0].length : words.length));
    return true;
  };
  const emphasis = (mark, name) => {
    const start = i + mark.length;
    if (depth >= DEPTH || endless.has(mark) || start >= text.length || /\s/.test(text[start])) return false;
    if (mark[0] === "_" && i > 0 && WORD.test(text[i - 1])) return false;
    for (let end = text.indexOf(mark, start + 1); end >= 0; end = text.indexOf(mark, end + 1)) {
      const after = text[end + mark.length] ?? " ";
      // A single mark does not end inside a double one, a double one ends as late as it can, and an underscore not inside a word.
      const double = mark.length === 1 ? after === mark || text[end - 1] === mark : mark !== "~~" && after === mark[0];
      if (double || /[\s\\]/.test(text[end - 1]) || (mark[0] === "_" && WORD.test(after))) continue;
      put(element(name, {}, ...inline(text.slice(start, end), depth + 1)), end + mark.length);
      return true;
    }
    endless.add(mark);
    return false;
  };
  while (i < text.length) {
    if (!special()) plain += text[i++];
  }
  if (plain) nodes.push(plain);
  return nodes;
}
