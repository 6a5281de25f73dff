// The branch on the screen: questions, answers, and what can be done with them.

import { copyButton, element, iconButton, say } from "./dom.js";
import { render } from "./markdown.js";
import { tokenView } from "./tokens.js";
import { branch, siblings } from "./tree.js";

const ENDS = {
  stopped: "Stopped here.",
  interrupted: "The server ended before this answer did.",
};

/**
 * The thread in `container`. `actions` are what its buttons do: `go(message)`, `edit(message, content)`, `again(message)`,
 * `rate(message, rating)`, `compare(message)`, `choose(answers, chosen)`, `tokens(message)`, `look(answer, token, layer, head)`, `fail(error)`.
 */
export function createThread(container, actions) {
  /** Where the words of each answer on the screen are, and how far they have been read out. */
  const places = new Map();
  /** Answers that are shown token by token, with the view of each once it is drawn: a redraw must not lose what is being looked at. */
  const opened = new Map();
  let shown = { conversation: null, comparing: null, editing: null };

  /** Shows a conversation; `comparing` holds two answers that stand side by side. */
  function show(conversation, comparing) {
    if (conversation !== shown.conversation) shown.editing = null;
    if (conversation?.id !== shown.conversation?.id) opened.clear();
    shown = { ...shown, conversation, comparing };
    const focused = document.activeElement?.dataset?.focus;
    places.clear();
    const messages = conversation ? branch(conversation.messages, conversation.leaf) : [];
    const turns = messages
      .filter((message) => !comparing?.includes(message.id))
      .map((message) => (message.role === "user" ? question(message) : answer(message)));
    if (comparing) turns.push(comparison(comparing));
    container.replaceChildren(...turns);
    // What had the focus has it again, also where it is another message's now.
    if (focused) container.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  const redraw = () => show(shown.conversation, shown.comparing);

  function question(message) {
    const depth = branch(shown.conversation.messages, message.id).length;
    if (shown.editing === message.id) return editor(message);
    const edit = () => { shown.editing = message.id; redraw(); };
    const busy = shown.conversation.messages.some((other) => other.state === "streaming");
    return element("article", { class: "turn asked", "aria-label": "You" }, heading("You"),
      element("div", { class: "bubble", dir: "auto" }, message.content),
      element("div", { class: "actions" },
        branches(message, depth, busy),
        copyButton(() => message.content),
        iconButton("edit", "Edit and send again", edit, { disabled: busy, data: { focus: `edit ${depth}` } })));
  }

  function editor(message) {
    const field = element("textarea", { rows: "3", "aria-label": "Your message", dir: "auto" });
    field.value = message.content;
    const leave = () => { shown.editing = null; redraw(); };
    const send = () => {
      if (!field.value.trim()) return;
      shown.editing = null;
      actions.edit(message, field.value);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); leave(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
    });
    setTimeout(() => field.focus());
    return element("article", { class: "turn asked editing", "aria-label": "You" }, field,
      element("p", { class: "help" }, "The old message and its answers stay on a branch of their own."),
      element("div", { class: "buttons" },
        element("button", { type: "button", on: { click: leave } }, "Cancel"),
        element("button", { type: "button", class: "main", on: { click: send } }, "Send")));
  }

  function answer(message) {
    const depth = branch(shown.conversation.messages, message.id).length;
    const busy = shown.conversation.messages.some((other) => other.state === "streaming");
    const several = siblings(shown.conversation.messages, message).length > 1;
    const thumb = (value, name, label) => iconButton(name, label, () => actions.rate(message, message.rating === value ? null : value), {
      "aria-pressed": String(message.rating === value), data: { focus: `${name} ${depth}` },
    });
    const actionsOf = message.state === "streaming" ? [] : [
      branches(message, depth, busy),
      copyButton(() => message.content),
      iconButton("again", "Another answer", () => actions.again(message), { disabled: busy, data: { focus: `again ${depth}` } }),
      thumb(1, "up", "Good answer"),
      thumb(-1, "down", "Bad answer"),
      message.has_tokens && iconButton("tokens", "Probabilities of the tokens", () => turn(message), {
        "aria-pressed": String(opened.has(message.id)), data: { focus: `tokens ${depth}` },
      }),
      several && iconButton("compare", "Compare with another answer", () => actions.compare(message), { disabled: busy }),
      figures(message),
    ].filter(Boolean);
    return element("article", { class: "turn answered", "aria-label": `Answer of ${message.model ?? "the model"}`, "aria-busy": String(message.state === "streaming") },
      heading("Answer"), words(message), remark(message), element("div", { class: "actions" }, ...actionsOf));
  }

  /** The words of an answer, as text or token by token. */
  function words(message) {
    if (opened.has(message.id) && message.tokens) {
      const view = opened.get(message.id) ?? tokenView(message, actions);
      opened.set(message.id, view);
      return view;
    }
    const place = element("div", { class: "words", dir: "auto" });
    places.set(message.id, { place, said: message.content.length });
    paint(message, place);
    return place;
  }

  function paint(message, place) {
    if (message.content || message.state !== "streaming") render(place, message.content);
    else place.replaceChildren(element("p", { class: "waiting" }, "…"));
    place.classList.toggle("growing", message.state === "streaming");
  }

  async function turn(message) {
    if (opened.delete(message.id)) return redraw();
    if (await actions.tokens(message)) opened.set(message.id, null);
    redraw();
  }

  function branches(message, depth, busy) {
    const all = siblings(shown.conversation.messages, message);
    if (all.length < 2) return null;
    const at = all.indexOf(message);
    const step = (by, name, label) => iconButton(name, label, () => actions.go(all[at + by]), {
      disabled: busy || !all[at + by], data: { focus: `${name} ${depth}` },
    });
    return element("span", { class: "branches", role: "group", "aria-label": "Branches" },
      step(-1, "before", "The one before"),
      element("span", { class: "count" }, `${at + 1}/${all.length}`),
      step(1, "after", "The next one"));
  }

  /** Two answers side by side, unnamed until one is chosen. */
  function comparison(ids) {
    const both = ids.map((id) => shown.conversation.messages.find((message) => message.id === id));
    const ready = both.every((message) => message && message.state !== "streaming");
    const column = (message, name) => element("section", { class: "column", "aria-label": `Answer ${name}`, "aria-busy": String(!message || message.state === "streaming") },
      element("p", { class: "letter" }, `Answer ${name}`),
      message ? words(message) : element("p", { class: "waiting" }, "…"),
      message && remark(message));
    const choice = (label, chosen) => element("button", {
      type: "button", disabled: !ready, on: { click: () => actions.choose(ids, chosen) },
    }, label);
    return element("article", { class: "turn comparison", "aria-label": "Two answers to compare" }, heading("Two answers"),
      element("div", { class: "columns" }, column(both[0], "A"), column(both[1], "B")),
      element("div", { class: "choices", role: "group", "aria-label": "Which answer is better?" },
        element("span", {}, ready ? "Which is better?" : "Both are being written."),
        choice("A is better", ids[0]), choice("Equally good", null), choice("B is better", ids[1])));
  }

  function remark(message) {
    if (message.state === "failed") return element("p", { class: "remark bad" }, `The answer broke off: ${message.reason}`);
    const preferred = shown.conversation.choices.some((choice) => choice.chosen === message.id) && !shown.comparing?.includes(message.id);
    const end = ENDS[message.state] ?? (message.reason === "length" && "The longest answer allowed ends here.");
    const said = [end, preferred && "You preferred this to another answer."].filter(Boolean);
    return said.length ? element("p", { class: "remark" }, said.join(" ")) : null;
  }

  /** Shows what an answer has grown by. */
  function grow(message) {
    const found = places.get(message.id);
    if (!found) return;
    paint(message, found.place);
    // Whole sentences are read out, not single tokens.
    const rest = message.content.slice(found.said);
    const end = Math.max(...[". ", "! ", "? ", ": ", "\n"].map((mark) => rest.lastIndexOf(mark)));
    if (end > 0) {
      say(rest.slice(0, end + 1));
      found.said += end + 1;
    }
  }

  /** Has what was not read out yet read out. */
  function finish(message) {
    const found = places.get(message.id);
    if (found && message.content.length > found.said) say(message.content.slice(found.said));
  }

  return { show, grow, finish };
}

/** A heading for those who go from one to the next without looking. */
const heading = (text) => element("h2", { class: "hidden" }, text);

/** What an answer took: seconds until the first token, and tokens a second from then on. */
function figures({ usage, model }) {
  if (!usage) return null;
  const { first_token_ms: first, total_ms: total, completion_tokens: count } = usage;
  const said = [];
  const rate = ((count - 1) / (total - first)) * 1000;
  if (count > 1 && total > first) said.push(`${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`);
  if (first !== undefined) said.push(`first after ${first < 1000 ? `${first.toFixed(0)} ms` : `${(first / 1000).toFixed(2)} s`}`);
  if (count !== undefined) said.push(`${count} ${count === 1 ? "token" : "tokens"}`);
  if (model) said.push(model);
  return element("span", { class: "figures" }, said.join(" · "));
}

