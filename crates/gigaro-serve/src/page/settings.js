// How answers are drawn, which theme the page has, and the key.

import { at, element, openDialog } from "./dom.js";
import { key, setKey } from "./server.js";

const KEPT = "gigaro settings";
const DEFAULTS = { model: null, temperature: 0.7, top_p: 0.95, max_tokens: null, seed: null, rival: null, compare: false };

function kept() {
  try { return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") }; } catch { return { ...DEFAULTS }; }
}

/** The settings of the conversation on the screen; `changed()` is called after each change by the person. */
export function createSettings(changed) {
  let settings = kept();
  let system = "";
  let models = [];
  const number = (id) => (at(id).value === "" ? null : Number(at(id).value));
  const fields = ["temperature", "top_p", "max_tokens", "seed"];

  function draw() {
    at("system").value = system;
    for (const id of fields) at(id).value = settings[id] ?? "";
    outputs();
    at("compare").setAttribute("aria-pressed", String(settings.compare));
    fill(at("model"), settings.model, []);
    fill(at("rival"), settings.rival, [element("option", { value: "" }, "the same model")]);
    at("seed-note").textContent = settings.seed === null ? "" : `seed ${settings.seed}`;
  }

  function fill(select, value, first) {
    select.replaceChildren(...first, ...models.map((model) => element("option", { value: model.id }, model.id)));
    select.value = models.some((model) => model.id === value) ? value : first.length ? "" : models[0]?.id;
  }

  function outputs() {
    for (const id of ["temperature", "top_p"]) at(id).parentElement.querySelector("output").textContent = Number(at(id).value).toFixed(2);
  }

  function take() {
    system = at("system").value;
    for (const id of fields) if (at(id).validity.valid) settings[id] = number(id);
    settings.model = at("model").value || null;
    settings.rival = at("rival").value || null;
    at("seed-note").textContent = settings.seed === null ? "" : `seed ${settings.seed}`;
    outputs();
    try { localStorage.setItem(KEPT, JSON.stringify(settings)); } catch { /* then only this conversation has them */ }
    changed();
  }

  for (const id of ["system", ...fields, "model", "rival"]) at(id).addEventListener("change", take);
  for (const id of ["temperature", "top_p"]) at(id).addEventListener("input", outputs);
  at("defaults").addEventListener("click", () => {
    settings = { ...DEFAULTS, model: settings.model, compare: settings.compare };
    draw();
    take();
  });
  at("compare").addEventListener("click", () => {
    settings.compare = !settings.compare;
    at("compare").setAttribute("aria-pressed", String(settings.compare));
    take();
  });
  at("open-settings").addEventListener("click", () => openDialog(at("settings")));

  return {
    /** Shows the settings of a conversation, or those that were last used. */
    show(conversation) {
      settings = { ...(conversation ? DEFAULTS : kept()), ...conversation?.settings };
      system = conversation?.system ?? "";
      draw();
    },
    setModels(list) {
      models = list;
      draw();
    },
    get: () => ({ settings, system }),
    /** The fields of a request; the second of two answers is the rival's, with a seed of its own. */
    request(second = false) {
      const { model, temperature, top_p, max_tokens, seed, rival } = settings;
      const asked = { temperature, top_p };
      const by = (second && rival) || model || models[0]?.id;
      if (by) asked.model = by;
      if (max_tokens !== null) asked.max_tokens = max_tokens;
      if (seed !== null) asked.seed = second ? seed + 1 : seed;
      return asked;
    },
  };
}

const THEMES = [["", "Theme: the system's"], ["light", "Theme: light"], ["dark", "Theme: dark"]];

/** The button that goes through the themes. */
export function createTheme() {
  let theme = "";
  try { theme = localStorage.getItem("gigaro theme") ?? ""; } catch { /* the system's, then */ }
  const show = () => {
    const [name, label] = THEMES.find(([name]) => name === theme) ?? THEMES[0];
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
    at("theme").textContent = label;
  };
  at("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.findIndex(([name]) => name === theme) + 1) % THEMES.length][0];
    try { localStorage.setItem("gigaro theme", theme); } catch { /* until the page is left */ }
    show();
  });
  show();
}

/** Asks for a key, and tells whether one was given; `refused` if the server has not taken the last one. */
export async function askForKey(refused) {
  const dialog = at("ask-key");
  at("key-error").textContent = refused && key() ? "The server does not know this key." : "";
  at("key-field").value = "";
  if (dialog.open || !await openDialog(dialog)) return false;
  setKey(at("key-field").value.trim());
  return true;
}
