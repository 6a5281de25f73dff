// What the model looked at when it wrote a token: the text before it, shaded by attention.

import { element } from "./dom.js";

/** A pause before the server is asked, so that going through tokens with a key held down asks once. */
const PAUSE = 120;
/** From which share of the largest weight on a token is of each shade, the darkest first. */
const SHARES = [0.5, 0.25, 0.1, 0.04];

/** Which of the shades a weight has; 0 is none. */
export function shadeOf(weight, most) {
  const found = SHARES.findIndex((share) => most > 0 && weight / most >= share);
  return found < 0 ? 0 : SHARES.length - found;
}

const percent = (weight) => (weight < 0.0005 ? "0 %" : `${(weight * 100).toFixed(1)} %`);

/**
 * The view of the attention of one answer, whose tokens stand in `spans`. `look(token, layer, head)` asks the server; `visible` makes a
 * token's text one that can be seen.
 */
export function attentionView(spans, look, fail, visible) {
  let shown = null;
  let wanted = null;
  let timer = 0;
  let prompt = null;

  const choice = (label, names) => {
    const select = element("select", { "aria-label": label, on: { change: () => wanted !== null && ask() } });
    select.append(...names.map((name, i) => element("option", { value: i === 0 ? "" : String(i - 1) }, name)));
    return select;
  };
  const layers = choice("Layer", ["all layers"]);
  const heads = choice("Head", ["all heads"]);
  const words = element("p", { class: "help", role: "status" }, "Choose a token: the darker a text before it, the more the model looked there.");
  const before = element("div", { class: "tokens prompt-tokens", dir: "auto", role: "group", tabindex: "0", "aria-label": "What the model read before the answer", hidden: true });
  const view = element("div", { class: "attention" },
    element("div", { class: "attention-controls" }, layers, heads), words, before);

  function grow(select, name, n) {
    for (let i = select.options.length - 1; i < n; i++) select.append(element("option", { value: String(i) }, `${name} ${i + 1}`));
  }

  async function ask() {
    const token = wanted;
    const number = (select) => (select.value === "" ? null : Number(select.value));
    try {
      const told = await look(token, number(layers), number(heads));
      // Another token may have been chosen meanwhile.
      if (token !== wanted) return;
      grow(layers, "layer", told.layers);
      grow(heads, "head", told.heads);
      paint(token, told);
    } catch (error) { fail(error); }
  }

  function paint(token, { prompt: texts, weights }) {
    shown = token;
    if (!prompt) {
      prompt = texts.map((text) => element("span", { class: "token" }, text.replaceAll("\n", "↵\n")));
      before.replaceChildren(...prompt);
      before.hidden = false;
    }
    const all = [...prompt, ...spans.slice(0, token)];
    // The first token of all gathers what looks nowhere, and would make all others pale.
    const most = Math.max(...weights.slice(1), 0.001);
    for (const span of [...prompt, ...spans]) mark(span, 0);
    all.forEach((span, i) => {
      mark(span, shadeOf(weights[i], most));
      span.title = percent(weights[i]);
    });
    const top = weights.map((weight, i) => [weight, i]).sort((a, b) => b[0] - a[0]).slice(0, 4);
    const textOf = (i) => (i < texts.length ? texts[i] : all[i].textContent);
    const name = (i) => `${visible(textOf(i))} ${percent(weights[i])}`;
    words.textContent = `For “${visible(spans[token].textContent)}” it looked most at: ${top.map(([, i]) => name(i)).join(", ")}`;
  }

  function mark(span, shade) {
    if (shade) span.dataset.look = String(shade);
    else delete span.dataset.look;
    span.removeAttribute("title");
  }

  return {
    view,
    /** Shows what was looked at for a token. */
    choose(token) {
      if (token === shown && token === wanted) return;
      wanted = token;
      clearTimeout(timer);
      timer = setTimeout(ask, PAUSE);
    },
    /** Takes all shades away. */
    clear() {
      clearTimeout(timer);
      wanted = shown = null;
      for (const span of spans) mark(span, 0);
    },
  };
}
