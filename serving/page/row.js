// One chip -> the cells of its row, whatever has become of it. Names of files are shown as text only.

import { HTTP_OK } from "./table.js";

// What to do with an answer, by its verdict. index.html and docs/api.md say it at length.
const ADVICE = {
  sure: "use the label",
  undecided: "look at the chip",
  unlike: "do not use the label",
};
const ORIGINS = { request: "given", file: "from the file", rule: "assumed" };
const ENDING = /.{0,3}\.[A-Za-z0-9]{1,5}$/;

/** An element with attributes and children; strings become text. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The cells of one chip; `picked(item)` is called when somebody picks its right class. */
export function fill(item, classes, picked) {
  const { row, path, result } = item;
  row.className = result ? result.status : "waiting";
  row.setAttribute("role", "row"); // cards on phones are no table to the browser
  const file = element("th", { scope: "row", role: "rowheader", class: "c-file" }, ...fileName(path));
  if (!result) {
    row.replaceChildren(cell("chip", ""), file, wide("waiting", "Waiting …"));
  } else if (result.status === HTTP_OK) {
    row.replaceChildren(picture(item), file, ...cells(item, classes, picked));
  } else {
    const { code, message } = result.error;
    const reason = wide("failed", element("code", {}, code), " ", message);
    row.replaceChildren(cell("chip", ""), file, reason);
  }
}

/** A cell; on phones its heading stands in it, because the head of the table is not above it. */
function cell(kind, heading, ...content) {
  const attributes = { class: `c-${kind}`, role: "cell", ...(heading && { "data-heading": heading }) };
  return element("td", attributes, ...content);
}

function wide(kind, ...content) {
  return element("td", { class: `c-wide ${kind}`, role: "cell", colspan: "6" }, ...content);
}

/** A path that breaks after / _ and -, if need be anywhere else, but never in its ending. */
function fileName(path) {
  const ending = ENDING.exec(path)?.[0] ?? "";
  const pieces = path.slice(0, path.length - ending.length).split(/(?<=[/_-])/);
  const broken = pieces.flatMap((piece) => (/[/_-]$/.test(piece) ? [piece, element("wbr")] : [piece]));
  return [...broken, element("span", { class: "ending" }, ending)];
}

/** What was assumed of the chip, with a warning where a rule of the model guessed its spacing. */
function used({ pixel_spacing_m: spacing, pixel_spacing_from: origin, polarisation, quantity, clipped }) {
  const metres = spacing.map((metre) => Number(metre.toFixed(2))).join("x");
  const parts = [
    ...(origin === "rule" ? [] : [`${metres} m ${ORIGINS[origin] ?? origin}`]),
    polarisation === "unknown" ? "polarisation unknown" : polarisation,
    quantity,
    ...(clipped ? [`${(100 * clipped).toFixed(1)} % of samples clipped`] : []),
  ];
  const assumed = element("span", { class: "used quiet" }, parts.join(" · "));
  if (origin !== "rule") return [assumed];
  const warning = element("span", { class: "assumed" }, `⚠ pixel spacing ${metres} m assumed`);
  return [warning, element("span", { class: "quiet" }, "give it above if you know it"), assumed];
}

/** The chip with its map: shown on hover, on focus, and held by a click. */
function picture({ path, result }) {
  const name = `Activation map of ${path}, ${result.label}`;
  const button = element("button", { type: "button", class: "chip", "aria-label": name });
  button.setAttribute("aria-pressed", "false");
  for (const [kind, png] of [["seen", result.preview], ["map", result.activation_map]]) {
    if (!png) continue;
    const image = element("img", { class: kind, alt: "", width: "96", height: "96" });
    image.src = `data:image/png;base64,${png}`;
    button.append(image);
  }
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
  });
  return cell("chip", "", button);
}

function cells(item, classes, picked) {
  const { result } = item;
  const { verdict } = result;
  const bars = element("ul", { class: "bars" }, ...classes.map((name, k) => bar(name, k, result)));
  const set = result.prediction_set.flatMap((name) => [element("span", {}, name), " "]);
  const score = element("span", { class: "quiet" }, `score ${result.ood_score.toFixed(2)}`);
  return [
    cell("used", "Read as", ...used(result.used)),
    cell("ood", "Verdict", element("span", { class: `verdict ${verdict}` }, verdict), " ",
      element("span", { class: "advice" }, ADVICE[verdict] ?? ""), " ", score),
    cell("label", "Label", element("strong", {}, result.label), ...sizes(result)),
    cell("bars", "Probability", bars),
    cell("set", "Prediction set", ...set),
    cell("right", "Right class", choice(item, classes, picked)),
  ];
}

/** Length and width with their intervals, of a model that estimates them. */
function sizes(result) {
  const lines = ["length", "width"].flatMap((name) => {
    const [best, low, high] = ["", "_low", "_high"].map((end) => result[`${name}${end}_m`] ?? null);
    if (best === null) return [];
    const interval = low === null || high === null ? "" : ` (${Math.round(low)}-${Math.round(high)})`;
    return [element("span", { class: "size" }, `${name} ${Math.round(best)} m${interval}`)];
  });
  if (lines.length === 0 || result.length_validated === true) return lines;
  return [...lines, element("span", { class: "assumed unvalidated" }, "⚠ size not validated")];
}

/** Where a person says what the ship is; the same class as the label's confirms it. */
function choice(item, classes, picked) {
  const list = element("select", { class: "right", "aria-label": `Right class of ${item.path}` });
  list.append(element("option", { value: "" }, "unchecked"));
  list.append(...classes.map((name) => element("option", {}, name)));
  list.value = item.right;
  list.addEventListener("change", () => {
    item.right = list.value;
    picked(item);
  });
  return list;
}

function bar(name, k, { probabilities, label }) {
  const share = probabilities[name] ?? 0;
  const track = element("span", { class: `track k${k % 6}`, "aria-hidden": "true" });
  const filled = element("span");
  filled.style.width = `${100 * share}%`;
  track.append(filled);
  const text = element("span", { class: "share" }, `${(100 * share).toFixed(0)} %`);
  const attributes = name === label ? { class: "best" } : {};
  return element("li", attributes, element("span", { class: "name" }, name), " ", track, text);
}
