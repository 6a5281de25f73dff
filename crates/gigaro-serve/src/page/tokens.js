// An answer token by token: how likely each was when it was drawn, what might have stood there, and what the model looked at for it.

import { attentionView } from "./attention.js";
import { at, element } from "./dom.js";

/** From which probability on a token is of each shade. */
const SHADES = [0.9, 0.6, 0.3, 0.1];

let views = 0;

const percent = (logprob) => {
  const share = Math.exp(logprob) * 100;
  if (share >= 99.95) return "100 %";
  if (share < 0.01) return "< 0.01 %";
  return `${share.toFixed(share < 1 ? 2 : 1)} %`;
};

/** A token as it can be seen: white space has signs, bytes that are no character their numbers. */
function visible({ token, bytes }) {
  if (token.includes("\ufffd") && bytes?.length) return bytes.map((byte) => `⟨${byte.toString(16).toUpperCase().padStart(2, "0")}⟩`).join("");
  return signs(token);
}

const signs = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";

/** What a screen reader says of a token. */
function spoken(token) {
  const others = (token.top_logprobs ?? []).filter((other) => other.token !== token.token).slice(0, 3);
  const words = [token, ...others].map((one) => `${visible(one)} ${percent(one.logprob)}`);
  return others.length ? `${words[0]}, or ${words.slice(1).join(", ")}` : words[0];
}

/** The tokens of an answer, to be gone through with the pointer or the arrow keys; `look` and `fail` as the thread's actions. */
export function tokenView({ id, tokens }, { look: ask, fail }) {
  const view = ++views;
  let looking = false;
  const spans = tokens.map((token, i) => {
    const shade = SHADES.findIndex((least) => Math.exp(token.logprob) >= least);
    const span = element("span", {
      id: `token-${view}-${i}`, class: `token shade-${shade < 0 ? SHADES.length : shade}`, role: "option", "aria-selected": "false",
      // Spoken also where it is nothing but white space.
      "aria-label": spoken(token),
      on: { pointerenter: () => looking || look(i), click: () => look(i) },
    }, token.token.includes("\ufffd") ? visible(token) : token.token);
    return span;
  });
  let current = -1;
  const look = (i) => {
    spans[current]?.setAttribute("aria-selected", "false");
    current = Math.max(0, Math.min(tokens.length - 1, i));
    spans[current].setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", spans[current].id);
    if (looking) attention.choose(current);
    else showTip(spans[current], tokens[current]);
  };
  const leave = () => {
    hideTip();
    // What was chosen to be looked at stays chosen.
    if (!looking) spans[current]?.setAttribute("aria-selected", "false");
  };
  const keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const box = element("div", {
    class: "words tokens", role: "listbox", tabindex: "0", dir: "auto", "aria-label": "Tokens and their probabilities",
    on: {
      focus: () => look(Math.max(current, 0)),
      blur: leave,
      pointerleave: leave,
      keydown: (event) => {
        if (event.key === "Escape") hideTip();
        else if (event.key === "Home") look(0);
        else if (event.key === "End") look(tokens.length - 1);
        else if (keys[event.key]) look(current + keys[event.key]);
        else return;
        spans[current]?.scrollIntoView({ block: "nearest" });
        event.preventDefault();
        event.stopPropagation();
      },
    },
  }, ...spans);
  const legend = element("p", { class: "legend", "aria-hidden": "true" }, "Probability: ",
    ...["≥ 90 %", "≥ 60 %", "≥ 30 %", "≥ 10 %", "less"].map((text, i) => element("span", { class: `token shade-${i}` }, text)));
  const attention = attentionView(spans, (token, layer, head) => ask(id, token, layer, head), fail, signs);
  attention.view.hidden = true;
  const toggle = element("button", {
    type: "button", class: "toggle", "aria-pressed": "false",
    on: {
      click: () => {
        looking = !looking;
        toggle.setAttribute("aria-pressed", String(looking));
        box.classList.toggle("looking", looking);
        attention.view.hidden = !looking;
        legend.hidden = looking;
        hideTip();
        if (!looking) attention.clear();
        else if (current >= 0) look(current);
      },
    },
  }, "What it looked at");
  return element("div", { class: "token-view" }, attention.view, box, legend, element("p", { class: "token-buttons" }, toggle));
}

function showTip(span, token) {
  const tip = at("tip");
  const others = (token.top_logprobs ?? []).slice(0, 5);
  if (!others.some((other) => other.token === token.token)) others.push(token);
  const rows = others.map((other) => element("tr", { class: other.token === token.token ? "drawn" : "" },
    element("td", {}, visible(other)),
    element("td", {}, element("meter", { min: "0", max: "1", value: String(Math.exp(other.logprob)), "aria-hidden": "true" })),
    element("td", { class: "number" }, percent(other.logprob))));
  tip.replaceChildren(element("table", {}, element("tbody", {}, ...rows)));
  tip.hidden = false;
  const place = span.getClientRects()[0] ?? span.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(place.left, window.innerWidth - width - 8));
  const above = place.top - height - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : place.bottom + 6}px`;
}

export function hideTip() {
  at("tip").hidden = true;
}
