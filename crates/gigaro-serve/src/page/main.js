// The chat page: which conversation is on the screen, and what happens when something is asked.

import { at, icon } from "./dom.js";
import { createFeedback } from "./feedback.js";
import { Refusal, ask, events, key } from "./server.js";
import { askForKey, createSettings, createTheme } from "./settings.js";
import { createSidebar } from "./sidebar.js";
import { createThread } from "./thread.js";
import { hideTip } from "./tokens.js";
import { lastLeaf, siblings } from "./tree.js";

/** The conversation on the screen; null before the first message of a new one. */
let conversation = null;
/** Two answers that stand side by side. */
let comparing = null;
/** What reads the replies of the conversation on the screen. */
let reading = new AbortController();
let sending = false;

const settings = createSettings(keepSettings);
const sidebar = createSidebar({
  open: (id) => { location.hash = id; closeSidebar(); },
  gone: (id) => { if (conversation?.id === id) location.hash = ""; },
  renamed: (id, title) => {
    if (conversation?.id !== id) return;
    conversation.title = title;
    drawTitle();
  },
  fail,
});
const thread = createThread(at("thread"), {
  go: (message) => goTo(lastLeaf(conversation.messages, message).id),
  edit: (message, content) => send(content, message.parent),
  again: (message) => answer(message.parent),
  rate,
  compare: compareWith,
  choose,
  tokens: loadTokens,
  look: (answer, token, layer, head) => ask("POST", "/api/attention", { answer, token, layer, head }),
  fail,
});

const streaming = () => conversation?.messages.filter((message) => message.state === "streaming") ?? [];

// What is on the screen.

function draw() {
  at("empty").hidden = Boolean(conversation?.messages.length);
  thread.show(conversation, comparing);
  drawTitle();
  const busy = sending || streaming().length > 0;
  at("send").hidden = busy;
  at("stop").hidden = !busy;
}

function drawTitle() {
  at("title").textContent = conversation?.title || "New conversation";
  document.title = conversation?.title ? `${conversation.title} · gigaro` : "gigaro";
}

/** Shows what went wrong; `retry` tries again. */
function fail(error, retry) {
  if (error?.name === "AbortError") return;
  if (error instanceof Refusal && error.status === 401) {
    askForKey(true).then((given) => given && start());
    return;
  }
  const [sentence, button] = at("notice").children;
  sentence.textContent = error instanceof Refusal ? error.message : `The page has a bug here: ${error?.message ?? error}`;
  button.hidden = !retry;
  button.onclick = retry ?? null;
  at("notice").hidden = false;
  follow(true);
}

function calm() {
  at("notice").hidden = true;
}

const atEnd = () => at("scroller").scrollHeight - at("scroller").scrollTop - at("scroller").clientHeight < 80;
let following = true;

/** Keeps the last words in sight, unless somebody reads further up. */
function follow(now = following) {
  if (now) at("scroller").scrollTop = at("scroller").scrollHeight;
  at("latest").hidden = atEnd();
}

at("scroller").addEventListener("scroll", () => {
  following = atEnd();
  at("latest").hidden = following;
  hideTip();
}, { passive: true });
at("latest").addEventListener("click", () => { following = true; follow(); });

// Conversations.

async function show(id) {
  reading.abort();
  reading = new AbortController();
  comparing = null;
  calm();
  try {
    conversation = id ? await ask("GET", `/api/conversations/${id}`) : null;
  } catch (error) {
    conversation = null;
    fail(error);
  }
  settings.show(conversation);
  sidebar.mark(conversation?.id ?? null);
  draw();
  follow(true);
  for (const message of streaming()) join(message);
}

async function keepSettings() {
  if (!conversation) return;
  const { settings: chosen, system } = settings.get();
  try { await ask("PATCH", `/api/conversations/${conversation.id}`, { settings: chosen, system }); } catch (error) { fail(error); }
}

async function begin() {
  const { settings: chosen, system } = settings.get();
  conversation = await ask("POST", "/api/conversations", { settings: chosen, system });
  history.pushState(null, "", `#${conversation.id}`);
}

async function goTo(leaf) {
  conversation.leaf = leaf;
  comparing = null;
  draw();
  try { await ask("PATCH", `/api/conversations/${conversation.id}`, { leaf }); } catch (error) { fail(error); }
}

// Questions and answers.

async function send(content, parent = conversation?.leaf ?? null) {
  if (sending || streaming().length) return;
  sending = true;
  calm();
  try {
    if (!conversation) await begin();
    // A question without an answer cannot be followed by another: it becomes a branch beside that one.
    const last = conversation.messages.find((message) => message.id === parent);
    if (last?.role === "user") parent = last.parent;
    const { id } = await ask("POST", `/api/conversations/${conversation.id}/messages`, { parent, content });
    conversation.messages.push({ id, parent, role: "user", content, state: "complete" });
    conversation.leaf = id;
    conversation.title ||= content.trim().split("\n")[0].slice(0, 60);
    comparing = null;
    following = true;
    draw();
    follow();
    at("question").value = "";
    fit();
    sending = false;
    sidebar.mark(conversation.id);
    sidebar.refresh();
    answer(id);
  } catch (error) {
    sending = false;
    draw();
    fail(error);
  }
}

/** Has a question answered, twice where two answers are to be compared. */
async function answer(question) {
  calm();
  if (!settings.get().settings.compare) {
    comparing = null;
    return write(question, settings.request());
  }
  const pair = [];
  const mine = conversation;
  // Which answer stands on the left is drawn, so that a habit of taking one side cancels out.
  const swap = Math.random() < 0.5;
  const begun = (id, second) => {
    pair[Number(second !== swap)] = id;
    if (pair[0] && pair[1] && conversation === mine) comparing = pair;
  };
  await Promise.all([
    write(question, settings.request(), (id) => begun(id, false)),
    write(question, settings.request(true), (id) => begun(id, true)),
  ]);
}

async function write(question, request, begun = () => {}) {
  const mine = conversation;
  sending = true;
  conversation.leaf = question;
  draw();
  let message = null;
  const each = (kind, data) => {
    if (kind === "answer") {
      message = { id: data.id, parent: question, role: "assistant", content: "", tokens: [], state: "streaming", model: request.model, rating: null };
      mine.messages.push(message);
      mine.leaf = message.id;
      sending = false;
      begun(message.id);
      draw();
      follow();
    } else take(message, kind, data);
  };
  try {
    await events("POST", `/api/conversations/${mine.id}/answers`, { parent: question, request }, reading.signal, each);
    if (message?.state === "streaming") throw new Refusal(0, "The connection to the server broke off.");
    sidebar.refresh();
  } catch (error) {
    await broken(mine, error, message, () => answer(question));
  } finally {
    if (mine === conversation) {
      sending = false;
      draw();
    }
  }
}

/** A reply that another tab or an earlier visit asked for. */
async function join(message) {
  const mine = conversation;
  message.content = "";
  message.tokens = [];
  try {
    await events("GET", `/api/answers/${message.id}/stream`, undefined, reading.signal, (kind, data) => kind !== "answer" && take(message, kind, data));
  } catch (error) {
    // It has ended since the conversation was read, or another server writes it: then what is stored of it is looked at again and again.
    if (error.status === 404) {
      await new Promise((after) => setTimeout(after, 1000));
      if (mine === conversation) show(mine.id);
    }
    else await broken(mine, error, message);
  }
}

/** The stream is lost, the reply perhaps not: what the server has of it is shown. */
async function broken(mine, error, message, retry) {
  if (error.name === "AbortError" || mine !== conversation) return;
  if (message) {
    try {
      conversation = await ask("GET", `/api/conversations/${mine.id}`);
      draw();
      for (const other of streaming()) join(other);
      return;
    } catch { /* the first error says more */ }
    message.state = "interrupted";
  }
  draw();
  fail(error, message ? undefined : retry);
}

/** A part of a reply, or its end. */
function take(message, kind, data) {
  if (kind === "end") {
    Object.assign(message, { state: data.state, reason: data.reason, usage: data.usage, has_tokens: message.tokens.length > 0 });
    if (data.not_stored) fail(new Refusal(0, data.not_stored));
    thread.finish(message);
    draw();
    follow();
    return;
  }
  const choice = data.choices?.[0];
  message.content += choice?.delta?.content ?? "";
  message.tokens.push(...(choice?.logprobs?.content ?? []));
  growing.add(message);
  if (growing.size === 1) requestAnimationFrame(paint);
}

/** Answers that have grown since the last picture. */
const growing = new Set();

function paint() {
  for (const message of growing) thread.grow(message);
  growing.clear();
  follow();
}

async function stop() {
  await Promise.all(streaming().map((message) => ask("POST", `/api/answers/${message.id}/stop`).catch((error) => error.status === 404 || fail(error))));
}

// What is thought of answers.

async function rate(message, rating) {
  const before = message.rating;
  message.rating = rating;
  draw();
  try { await ask("PUT", `/api/answers/${message.id}/rating`, { rating }); } catch (error) {
    message.rating = before;
    draw();
    fail(error);
  }
}

function compareWith(message) {
  const others = siblings(conversation.messages, message).filter((other) => other !== message);
  const other = others.at(-1);
  comparing = Math.random() < 0.5 ? [message.id, other.id] : [other.id, message.id];
  conversation.leaf = message.id;
  draw();
  follow(true);
}

async function choose(answers, chosen) {
  try {
    await ask("POST", "/api/choices", { answers, chosen });
    const [first, second] = [Math.min(...answers), Math.max(...answers)];
    const others = conversation.choices.filter((choice) => choice.first !== first || choice.second !== second);
    conversation.choices = [...others, { first, second, chosen }];
    conversation.leaf = chosen ?? Math.min(...answers);
    comparing = null;
    draw();
    at("question").focus();
  } catch (error) { fail(error); }
}

async function loadTokens(message) {
  try {
    message.tokens ??= (await ask("GET", `/api/answers/${message.id}/tokens`)).tokens;
  } catch (error) { fail(error); }
  return message.tokens?.length > 0;
}

// The field for messages, and keys.

function fit() {
  const field = at("question");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function submit() {
  const content = at("question").value;
  if (content.trim()) send(content);
}

at("question").addEventListener("input", fit);
at("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
at("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
at("stop").addEventListener("click", stop);
at("new").addEventListener("click", anew);

function anew() {
  closeSidebar();
  if (location.hash.length > 1) location.hash = "";
  else show(null);
  at("question").focus();
}

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (event.key === "Escape" && !document.querySelector("dialog[open], :popover-open")) {
    if (streaming().length) stop();
    else if (sidebarOpen()) closeSidebar();
    else return;
  } else if (command && !event.shiftKey && event.key.toLowerCase() === "k") {
    openSidebar();
    at("search").focus();
  } else if (command && event.shiftKey && event.key.toLowerCase() === "o") anew();
  else return;
  event.preventDefault();
});

// The list on a narrow screen.

const narrow = window.matchMedia("(max-width: 56rem)");
const sidebarOpen = () => document.body.classList.contains("listing");

function openSidebar() {
  if (!narrow.matches) return;
  document.body.classList.add("listing");
  drawSidebar();
  at("close-sidebar").focus();
}

function closeSidebar() {
  if (!sidebarOpen()) return;
  document.body.classList.remove("listing");
  drawSidebar();
  at("open-sidebar").focus();
}

function drawSidebar() {
  const open = sidebarOpen() && narrow.matches;
  at("veil").hidden = !open;
  at("sidebar").inert = narrow.matches && !open;
  at("page").inert = open;
  at("open-sidebar").setAttribute("aria-expanded", String(open));
}

narrow.addEventListener("change", drawSidebar);
at("open-sidebar").addEventListener("click", openSidebar);
at("close-sidebar").addEventListener("click", closeSidebar);
at("veil").addEventListener("click", closeSidebar);

at("key").addEventListener("click", () => askForKey(false).then((given) => given && start()));
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
window.addEventListener("hashchange", () => show(Number(location.hash.slice(1)) || null));

async function start() {
  try {
    const models = (await ask("GET", "/v1/models")).data;
    settings.setModels(models);
    at("greeting-model").textContent = models.length === 1 ? `${models[0].id} answers.` : `${models.length} models can answer.`;
    at("key").hidden = !key();
    sidebar.refresh();
    // Somebody quick may have begun to write already.
    if (!conversation && !sending) await show(Number(location.hash.slice(1)) || null);
  } catch (error) { fail(error, start); }
}

for (const [id, name] of [["open-sidebar", "menu"], ["close-sidebar", "close"], ["open-settings", "settings"]]) at(id).append(icon(name));
createTheme();
createFeedback(fail);
drawSidebar();
start();
at("question").focus();
