// What was thought of answers, day by day, and what became of it: the trainings that learned from it.

import { at, element, openDialog } from "./dom.js";
import { ask, save } from "./server.js";

const COUNTS = [["up", "thumbs up"], ["down", "thumbs down"], ["compared", "comparisons"], ["pairs", "pairs to learn from"]];
/** Days that have a bar. */
const DAYS = 14;

const OUTCOMES = {
  better: "better: its answers are preferred",
  worse: "worse: the answers before are preferred",
  undecided: "not told apart",
  unknown: "not compared",
};

const percent = (share) => `${Math.round(share * 100)}\u00a0%`;

/** The button, and the page that it opens. */
export function createFeedback(fail) {
  at("feedback").addEventListener("click", async () => {
    try {
      const [counts, { days, trainings }] = await Promise.all([ask("GET", "/api/feedback"), ask("GET", "/api/feedback/history")]);
      at("counts").replaceChildren(...COUNTS.map(([name, words]) => element("div", {}, element("dt", {}, words), element("dd", {}, String(counts[name])))));
      at("days").replaceChildren(...(days.length ? [dayTable(days.slice(-DAYS))] : []));
      at("trainings").replaceChildren(trainings.length ? trainingTable(trainings) : element("p", { class: "help" }, "None yet."));
      at("save-pairs").disabled = !counts.pairs;
      at("save-judgements").disabled = !(counts.up + counts.down);
      await openDialog(at("feedback-page"));
    } catch (error) { fail(error); }
  });
  at("save-pairs").addEventListener("click", () => save("/api/feedback.jsonl").catch(fail));
  at("save-judgements").addEventListener("click", () => save("/api/feedback.jsonl?form=judgements").catch(fail));
}

const heads = (...names) => element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
const table = (caption, head, rows) => element("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
  element("table", {}, element("caption", { class: "hidden" }, caption), head, element("tbody", {}, ...rows)));

/** The last days on which anything was said, each with a bar. */
function dayTable(days) {
  const total = ({ up, down, compared }) => up + down + compared;
  const most = Math.max(...days.map(total));
  const row = (day) => element("tr", {},
    element("th", { scope: "row" }, day.day),
    element("td", {}, element("meter", { min: "0", max: String(most), value: String(total(day)), "aria-hidden": "true" })),
    ...[day.up, day.down, day.compared].map((n) => element("td", { class: "right" }, String(n))));
  return table("Feedback by day", heads("Day", "", "Up", "Down", "Compared"), days.map(row));
}

/** The last trainings: what they learned from, how they compare with the model before, and whether they took its place. */
function trainingTable(trainings) {
  const place = (training) => (training.swapped ? "yes, and is served" : training.taken ? "yes, at the next start" : "no");
  const rate = ({ win_rate: found }) => (found ? `${percent(found[0])} (${percent(found[1])} to ${percent(found[2])})` : "");
  const row = (training) => element("tr", {},
    element("th", { scope: "row" }, training.run, element("br"), element("span", { class: "help" }, new Date(training.at_ms).toLocaleString())),
    element("td", {}, `${training.learned_from} by ${training.algorithm}`),
    element("td", {}, rate(training), element("br"), element("span", { class: "help" }, OUTCOMES[training.outcome] ?? training.outcome)),
    element("td", {}, place(training)));
  return table("Trainings on feedback, the last one first",
    heads("Run", "Learned from", "Preferred to the model before", "Took its place"), trainings.map(row));
}
