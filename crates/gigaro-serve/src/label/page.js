"use strict";
// The labelling page. Foreign text goes into the page through textContent and in no other way.

const at = (id) => document.getElementById(id);
const PLACES = ["best", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"];

let labeller = "";
let task = null;
/** Places from the best down, each a list of answers (counted from 0) that are level. */
let places = [];
let level = false;
let flag = false;
let busy = false;
let since = 0;

async function ask(path, request) {
  if (busy) return;
  busy = true;
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
    const answer = await response.json();
    if (response.ok) show(answer);
    else complain(answer.error);
  } catch {
    complain("gigaro does not answer. Is it still running? Nothing was kept since the last item.");
  } finally {
    busy = false;
  }
}

function complain(sentence) {
  at("error").textContent = sentence;
  at("error").hidden = false;
}

function show(turn) {
  at("error").hidden = true;
  at("who").hidden = true;
  at("actions").hidden = false;
  at("state").hidden = false;
  const { ranked, skipped, open } = turn.progress;
  at("bar").max = Math.max(1, ranked + skipped + open);
  at("bar").value = ranked + skipped;
  at("counts").textContent = `${ranked} ranked, ${skipped} skipped, ${open} to go`;
  at("agreement").textContent = turn.agreement;
  task = turn.task;
  places = [];
  level = flag = false;
  since = performance.now();
  at("work").hidden = !task;
  at("done").hidden = Boolean(task);
  at("prompt").replaceChildren(...(task ? task.prompt.map(message) : []));
  at("answers").replaceChildren(...(task ? task.answers.map(card) : []));
  draw();
  at(task ? "prompt" : "done").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function element(name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function words(text) {
  const said = element("p", "text", text);
  said.dir = "auto";
  return said;
}

function message({ role, content }) {
  const said = element("div", "message");
  said.append(element("p", "role", { system: "Instructions", user: "User", assistant: "Assistant" }[role]), words(content));
  return said;
}

function card(text, i) {
  const made = element("button", "answer");
  made.type = "button";
  const head = element("span", "head");
  head.append(element("kbd", "", String(i + 1)), element("span", "rank"));
  const said = element("span", "text", text);
  said.dir = "auto";
  made.append(head, said);
  made.addEventListener("click", (event) => { release(event); rank(i); });
  return made;
}

/** Takes the focus off what was clicked with a mouse, so that Enter saves and does not click it again. */
function release(event) {
  if (event.detail) event.currentTarget.blur();
}

/** Puts answer `i` next, or level with the one before. */
function rank(i) {
  if (busy || !task || i >= task.answers.length || places.flat().includes(i)) return;
  if (level && places.length) places.at(-1).push(i);
  else places.push([i]);
  level = false;
  draw();
}

function back() {
  if (level) level = false;
  else if (places.length) {
    places.at(-1).pop();
    if (!places.at(-1).length) places.pop();
  }
  draw();
}

function order() {
  if (!task) return "";
  const said = places.map((place) => place.map((i) => i + 1).join(" = ")).join(" > ");
  const left = task.answers.map((_, i) => i).filter((i) => !places.flat().includes(i)).map((i) => i + 1);
  if (!places.length) return level ? "All level. Save keeps that." : "Which answer is best?";
  if (level && left.length) return `${said} = …`;
  if (left.length) return `${said} > ${left.join(" = ")} if you save now`;
  return said;
}

function draw() {
  at("order").textContent = order();
  at("tie").setAttribute("aria-pressed", String(level));
  at("flag").setAttribute("aria-pressed", String(flag));
  for (const id of ["tie", "clear", "skip", "flag", "save"]) at(id).disabled = !task;
  [...at("answers").children].forEach((made, i) => {
    const place = places.findIndex((place) => place.includes(i));
    made.classList.toggle("ranked", place >= 0);
    made.setAttribute("aria-pressed", String(place >= 0));
    made.querySelector(".rank").textContent = place >= 0 ? PLACES[place] : "";
  });
}

function say(ranks) {
  const seconds = (performance.now() - since) / 1000;
  ask("/api/label", { labeller, item: task.item, verdict: { ranks, flag, seconds } });
}

function save() {
  if (!task) return;
  if (!places.length && !level) {
    at("order").textContent = "First press the number of the best answer, or = if all are level.";
    return;
  }
  const rankOf = (_, i) => {
    const place = places.findIndex((place) => place.includes(i));
    return (place < 0 ? places.length : place) + 1;
  };
  say(task.answers.map(rankOf));
}

const ACTIONS = {
  tie: () => { if (task) { level = !level; draw(); } },
  clear: back,
  skip: () => { if (task) say(null); },
  flag: () => { if (task) { flag = !flag; draw(); } },
  undo: () => ask("/api/undo", { labeller }),
  save,
};
const KEYS = { "=": "tie", Backspace: "clear", s: "skip", f: "flag", u: "undo", Enter: "save" };

for (const [id, action] of Object.entries(ACTIONS)) {
  at(id).addEventListener("click", (event) => { release(event); if (!busy) action(); });
}

document.addEventListener("keydown", (event) => {
  // A held key must not label one item after another, and shortcuts of the browser stay its own.
  if (at("actions").hidden || busy || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  // Enter and space on what has the focus do what they do there.
  const onControl = event.target instanceof Element && event.target.closest("button, summary, input");
  if (event.key === "Enter" && onControl) return;
  if (/^[1-9]$/.test(event.key)) rank(Number(event.key) - 1);
  else if (Object.hasOwn(KEYS, event.key)) ACTIONS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  labeller = at("name").value.trim();
  // A browser that keeps nothing asks for the name again.
  try { localStorage.setItem("labeller", labeller); } catch { }
  ask("/api/next", { labeller });
});

try { at("name").value = localStorage.getItem("labeller") ?? ""; } catch { }
at("name").focus();
