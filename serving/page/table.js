// Answers -> rows of the table, their order, totals by label, and CSV with the columns of
// python -m serving.batch. Names of files are shown as text only.

const HTTP_OK = "ok";

/** An element with attributes and children; strings become text. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The cells of one chip, whatever has become of it. */
export function fill(item, classes) {
  const { row, path, result } = item;
  const file = element("th", { scope: "row", class: "c-file" }, path);
  row.className = result ? result.status : "waiting";
  if (!result) {
    row.replaceChildren(element("td", { class: "c-chip" }), file, wide("waiting", "Waiting …"));
  } else if (result.status === HTTP_OK) {
    row.replaceChildren(picture(item), file, ...cells(result, classes));
  } else {
    const { code, message } = result.error;
    const told = wide("failed", element("code", {}, code), " ", message);
    row.replaceChildren(element("td", { class: "c-chip" }), file, told);
  }
}

function wide(kind, ...content) {
  return element("td", { class: `c-wide ${kind}`, colspan: "4" }, ...content);
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
  return element("td", { class: "c-chip" }, button);
}

function cells(result, classes) {
  const bars = element("ul", { class: "bars" }, ...classes.map((name, k) => bar(name, k, result)));
  const set = result.prediction_set.flatMap((name) => [element("span", {}, name), " "]);
  const known = result.in_distribution;
  const mark = element("span", { class: known ? "known" : "strange" }, known ? "yes" : "⚠ no");
  const score = element("span", { class: "quiet" }, `score ${result.ood_score.toFixed(2)}`);
  const verdict = element("span", { class: `verdict ${result.verdict}` }, result.verdict);
  return [
    element("td", { class: "c-label" }, element("strong", {}, result.label), " ", verdict, ...assumed(result.used)),
    element("td", { class: "c-bars" }, bars),
    element("td", { class: "c-set" }, ...set),
    element("td", { class: "c-ood" }, mark, " ", score),
  ];
}

/** A warning where the chip has no pixel spacing and a rule of the model guessed one. */
function assumed({ pixel_spacing_m: spacing, pixel_spacing_from: origin }) {
  if (origin !== "rule") return [];
  const metres = spacing.map((metre) => Number(metre.toFixed(2))).join("x");
  return [" ", element("span", { class: "assumed" }, `⚠ pixel spacing ${metres} m assumed`)];
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

const KEYS = {
  order: ({ order }) => order,
  path: ({ path }) => path,
  label: ({ result }) => result.label,
  confidence: ({ result }) => -result.confidence,
  set: ({ result }) => result.prediction_set.length,
  ood: ({ result }) => -result.ood_score,
};

/** The items in the order of a key; what has no such value stands last, whatever the direction. */
export function sorted(items, key, down) {
  const of = (item) => {
    if (key === "order" || key === "path") return KEYS[key](item);
    return item.result?.status === HTTP_OK ? KEYS[key](item) : null;
  };
  const compare = (a, b) => (a < b ? -1 : Number(a > b)) * (down ? -1 : 1);
  return [...items].sort((one, other) => {
    const [a, b] = [of(one), of(other)];
    if (a === null || b === null) return Number(a === null) - Number(b === null) || one.order - other.order;
    return compare(a, b) || one.order - other.order;
  });
}

/** [name, count, kind] of every label, of failures and of chips unlike training. */
export function totals(items, classes) {
  const done = items.filter(({ result }) => result);
  const good = done.filter(({ result }) => result.status === HTTP_OK);
  const count = (name) => good.filter(({ result }) => result.label === name).length;
  return [
    ...classes.map((name, k) => [name, count(name), `k${k % 6}`]),
    ["unlike training", good.filter(({ result }) => !result.in_distribution).length, "strange"],
    ["failed", done.length - good.length, "failed"],
  ];
}

const SIZES = [
  "length_m", "length_low_m", "length_high_m", "width_m", "width_low_m", "width_high_m", "length_validated",
];

/**
 * RFC 4180, with the columns and the rounding of serving/batch/rows.py, of the items that have an answer.
 * For spreadsheets: a byte order mark tells Excel that it is UTF-8, and an apostrophe before text
 * that starts as a formula does keeps it text.
 */
export function csv(items, classes) {
  const columns = [
    "path", "status", "label", "confidence", ...classes.map((name) => `p_${name.toLowerCase()}`),
    "prediction_set", "in_distribution", "ood_score", "model_version", "error_code", "error_message",
    "verdict", "pixel_spacing_row_m", "pixel_spacing_column_m", "pixel_spacing_from", "polarisation", "quantity",
    ...SIZES, "lon", "lat", "map_file",
  ];
  const rows = items.filter(({ result }) => result).map((item) => values(item, classes));
  return `\ufeff${[columns, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
}

function values({ path, result }, classes) {
  const { status, version = "", used } = result;
  if (status !== HTTP_OK) {
    const nothing = Array(classes.length + 5).fill("");
    return [path, status, ...nothing, version, result.error.code, result.error.message, ...Array(9 + SIZES.length).fill("")];
  }
  return [
    path, status, result.label, rounded(result.confidence),
    ...classes.map((name) => rounded(result.probabilities[name])),
    result.prediction_set.join("|"), result.in_distribution, rounded(result.ood_score), version, "", "",
    result.verdict, ...used.pixel_spacing_m, used.pixel_spacing_from, used.polarisation, used.quantity,
    ...SIZES.map((name) => result[name] ?? ""), result.lon ?? "", result.lat ?? "", "",
  ];
}

function rounded(number) {
  return Number(number.toFixed(6));
}

function cell(value) {
  const formula = typeof value === "string" && /^[=+\-@\t\r]/.test(value);
  const text = formula ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
