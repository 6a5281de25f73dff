// Small ways to build parts of the page. Foreign text goes into it through text nodes and in no other way.

export const at = (id) => document.getElementById(id);

/** An element with properties (`class`, `on`, `data`, attributes) and children, which are nodes or text. */
export function element(name, { class: kind, on = {}, data = {}, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  Object.assign(made.dataset, data);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value != null) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Outlines on a field of 24 by 24. */
const SHAPES = {
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  more: "M4.5 12h1M11.5 12h1M18.5 12h1",
  settings: "M3 7h8M16 7h5M3 17h3M11 17h10M11 4.5h5v5h-5zM6 14.5h5v5H6z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  done: "M5 13l4 4L19 7",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  again: "M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5",
  up: "M7 11v9H4v-9zM7 11l4-8c2 0 3 1 2.5 3L13 9h6l-2 11H7",
  down: "M7 13V4H4v9zM7 13l4 8c2 0 3-1 2.5-3L13 15h6L17 4H7",
  before: "M14 6l-6 6 6 6",
  after: "M10 6l6 6-6 6",
  tokens: "M5 19v-6M10 19V5M15 19v-9M20 19v-4",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  drawn.setAttribute("viewBox", "0 0 24 24");
  drawn.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  drawn.append(path);
  return drawn;
}

/** A button that shows a picture and says what it does. */
export function iconButton(name, label, press, more = {}) {
  return element("button", { type: "button", class: "icon", "aria-label": label, title: label, on: { click: press }, ...more }, icon(name));
}

/** Opens a dialog; the promise tells whether it was ended by its main button. */
export function openDialog(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  // It would be where it was scrolled to when it was closed.
  dialog.scrollTop = 0;
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "done"), { once: true });
  });
}

/** Puts text on the clipboard; also where the page has no right to it because it came without TLS. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch { /* the old way follows */ }
  const field = element("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
  field.value = text;
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  focused?.focus();
}

/** A button that copies, and says for a moment that it has. */
export function copyButton(text, label = "Copy") {
  const button = iconButton("copy", label, async () => {
    await copyText(text());
    button.replaceChildren(icon("done"));
    say("Copied");
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** Has a screen reader say something when it is done with what it says. */
export function say(words) {
  const spoken = at("spoken");
  spoken.append(element("p", {}, words));
  while (spoken.children.length > 20) spoken.firstChild.remove();
}
