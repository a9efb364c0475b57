// The model card -> a short list of what the answers rest on. A card says of its figures and of its
// training what its maker liked, so each line is left out where the card has nothing for it.

import { element } from "./row.js";

/** Fill a place of the page with what the card tells of the model's figures and limits. */
export function showCard(place, card) {
  const lines = [...figures(card), ...learnt(card), ...sizes(card), ...spacings(card)];
  const list = element("ul", {}, ...lines.map((line) => element("li", {}, line)));
  place.replaceChildren(list, element("p", { class: "quiet" }, `Terms of the training data: ${card.terms}`));
}

/** The address of what /v1/model answered, without asking again. */
export function fileOf(info) {
  return URL.createObjectURL(new Blob([JSON.stringify(info, null, 1)], { type: "application/json" }));
}

/** The macro-F1 of every source of test chips, with its interval. */
function* figures({ metrics }) {
  for (const [source, { chips, headline }] of Object.entries(metrics?.sources ?? {})) {
    const { value, low, high } = headline?.macro_f1 ?? {};
    if (typeof value !== "number") continue;
    const interval = typeof low === "number" && typeof high === "number"
      ? ` (95 % interval ${low.toFixed(2)} to ${high.toFixed(2)})` : "";
    yield `On ${chips} test chips of ${source}: macro-F1 ${value.toFixed(2)}${interval}.`;
  }
}

/** Classes that only one of several sources taught. */
function* learnt({ classes, training }) {
  const sources = typeof training?.sources === "object" ? Object.entries(training.sources) : [];
  for (const name of classes) {
    const given = sources.filter(([, counts]) => counts?.[name]?.train > 0).map(([source]) => source);
    if (given.length === 1 && sources.length > 1) {
      yield `${name} was learnt from ${given[0]} alone, so elsewhere hardly any answer is ${name}, right or wrong.`;
    }
  }
}

/** How far to trust length and width, of a model that estimates them. */
function* sizes({ size }) {
  if (typeof size?.coverage !== "number") return;
  yield `Length and width are estimates; for ${Math.round(100 * size.coverage)} % of ships the true one is in the `
    + "interval. One that is not validated is of chips that were not measured against AIS: a guess.";
}

/** What is assumed of a chip that does not tell its pixel spacing. */
function* spacings({ input }) {
  const rules = input.spacing_rules.map(({ why, spacing_m: metres }) => (
    `${why} (${metres.map((metre) => Number(metre.toFixed(2))).join("x")} m)`));
  yield `A chip without a pixel spacing gets one by a rule, which is a guess: ${rules.join("; ")}.`;
}
