// The list of conversations: search, and what can be done with one of them.

import { at, element, icon, openDialog } from "./dom.js";
import { ask, save } from "./server.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const PAGE = 50;

/** The heading under which a conversation stands. */
function when(ms) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (ms >= today) return "Today";
  if (ms >= today - DAY_MS) return "Yesterday";
  if (ms >= today - 7 * DAY_MS) return "This week";
  return new Date(ms).toLocaleDateString("en", { month: "long", year: "numeric" });
}

/** The list. `open(id)` shows a conversation, `gone(id)` and `renamed(id, title)` tell what became of one, `fail(error)` shows an error. */
export function createSidebar({ open, gone, renamed, fail }) {
  const list = at("list");
  const search = at("search");
  let found = [];
  let more = false;
  let current = null;
  let asked = 0;
  /** The conversation whose menu is open, and the button that opened it. */
  let chosen = null;
  let opener = null;

  async function load(skip = 0) {
    const number = ++asked;
    const query = new URLSearchParams({ search: search.value, skip, limit: PAGE });
    const answer = await ask("GET", `/api/conversations?${query}`);
    // A later search may have overtaken this one.
    if (number !== asked) return;
    found = skip ? [...found, ...answer.conversations] : answer.conversations;
    more = answer.more;
    draw();
  }

  const refresh = () => load().catch(fail);

  function draw() {
    const focused = document.activeElement?.dataset?.focus;
    const parts = [];
    let heading = null;
    for (const conversation of found) {
      const next = when(conversation.changed_ms);
      if (next !== heading) {
        heading = next;
        parts.push(element("h2", {}, heading));
        parts.push(element("ul"));
      }
      parts.at(-1).append(row(conversation));
    }
    if (!found.length) parts.push(element("p", { class: "none" }, search.value ? "Nothing is found." : "No conversations yet."));
    if (more) parts.push(element("button", { type: "button", class: "small", on: { click: () => load(found.length).catch(fail) } }, "Show more"));
    list.replaceChildren(...parts);
    if (focused) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function row(conversation) {
    const title = conversation.title || "Without a name";
    const words = [element("span", { class: "row-title", dir: "auto" }, title)];
    if (conversation.snippet) words.push(element("span", { class: "snippet", dir: "auto" }, conversation.snippet));
    const here = conversation.id === current;
    return element("li", { class: here ? "row here" : "row" },
      element("button", {
        type: "button", class: "open", "aria-current": here ? "page" : undefined, data: { focus: `open ${conversation.id}` }, on: { click: () => open(conversation.id) },
      }, ...words),
      element("button", {
        type: "button", class: "icon", "aria-label": `More about ${title}`, "aria-haspopup": "menu", title: "More", data: { focus: `more ${conversation.id}` },
        on: { click: (event) => openMenu(event.currentTarget, conversation) },
      }, icon("more")));
  }

  function openMenu(button, conversation) {
    chosen = conversation;
    opener = button;
    const menu = at("menu");
    menu.showPopover();
    const place = button.getBoundingClientRect();
    menu.style.left = `${Math.min(place.left, window.innerWidth - menu.offsetWidth - 8)}px`;
    menu.style.top = `${Math.min(place.bottom + 4, window.innerHeight - menu.offsetHeight - 8)}px`;
    menu.firstElementChild.focus();
  }

  const actions = {
    async rename() {
      const { id, title } = chosen;
      at("rename-field").value = title;
      if (!await openDialog(at("rename"))) return;
      const name = at("rename-field").value.trim();
      await ask("PATCH", `/api/conversations/${id}`, { title: name });
      renamed(id, name);
      await load();
    },
    async delete() {
      const { id, title } = chosen;
      at("delete-what").textContent = `“${title || "Without a name"}” goes with all its branches and with what you thought of its answers. This cannot be undone.`;
      if (!await openDialog(at("delete"))) return;
      await ask("DELETE", `/api/conversations/${id}`);
      gone(id);
      await load();
    },
    markdown: () => save(`/api/conversations/${chosen.id}/export?form=markdown`),
    json: () => save(`/api/conversations/${chosen.id}/export?form=json`),
  };

  at("menu").addEventListener("click", (event) => {
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (!action) return;
    at("menu").hidePopover();
    opener?.focus();
    Promise.resolve(actions[action]()).catch(fail);
  });
  at("menu").addEventListener("keydown", (event) => {
    const items = [...at("menu").children];
    const here = items.indexOf(document.activeElement);
    const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 };
    if (event.key === "Tab") at("menu").hidePopover();
    if (!(event.key in steps)) return;
    items.at(steps[event.key] % items.length).focus();
    event.preventDefault();
  });
  at("menu").addEventListener("toggle", (event) => {
    if (event.newState === "closed" && document.activeElement === document.body) opener?.focus();
  });
  let pause = 0;
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(refresh, 150);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    list.querySelector(".open")?.focus();
    event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...list.querySelectorAll(".open")];
    const here = rows.indexOf(document.activeElement);
    if (!step || here < 0) return;
    (rows[here + step] ?? (step < 0 ? search : rows[here])).focus();
    event.preventDefault();
  });

  return {
    refresh,
    mark(id) {
      current = id;
      draw();
    },
  };
}
