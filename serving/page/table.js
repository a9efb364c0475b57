// Answers -> the order of the table's rows, totals by verdict and label, and CSV with the columns of
// python -m serving.batch. row.js makes the rows themselves.

export const HTTP_OK = "ok";

// The most doubtful last, as they are counted.
const VERDICTS = ["sure", "undecided", "unlike"];

const KEYS = {
  order: ({ order }) => order,
  path: ({ path }) => path,
  label: ({ result }) => result.label,
  confidence: ({ result }) => -result.confidence,
  set: ({ result }) => result.prediction_set.length,
  verdict: ({ result }) => -VERDICTS.indexOf(result.verdict) * 1e6 - result.ood_score,
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

/** [name, count, kind] of every verdict, then of every label, then of failures. */
export function totals(items, classes) {
  const done = items.filter(({ result }) => result);
  const good = done.filter(({ result }) => result.status === HTTP_OK);
  const count = (key, name) => good.filter(({ result }) => result[key] === name).length;
  return [
    ...VERDICTS.map((name) => [name, count("verdict", name), name]),
    ...classes.map((name, k) => [name, count("label", name), `k${k % 6}`]),
    ["failed", done.length - good.length, "failed"],
  ];
}

const SIZES = [
  "length_m", "length_low_m", "length_high_m", "width_m", "width_low_m", "width_high_m", "length_validated",
];

/**
 * RFC 4180, with the columns and the rounding of serving/batch/rows.py, of the items that have an answer.
 * `more`: columns after those, each a function of an item.
 * For spreadsheets: a byte order mark tells Excel that it is UTF-8, and an apostrophe before text
 * that starts as a formula does keeps it text.
 */
export function csv(items, classes, more = {}) {
  const columns = [
    "path", "status", "label", "confidence", ...classes.map((name) => `p_${name.toLowerCase()}`),
    "prediction_set", "in_distribution", "ood_score", "model_version", "error_code", "error_message",
    "verdict", "pixel_spacing_row_m", "pixel_spacing_column_m", "pixel_spacing_from", "polarisation", "quantity",
    ...SIZES, "lon", "lat", "map_file",
  ];
  const added = Object.values(more);
  const rows = items.filter(({ result }) => result)
    .map((item) => [...values(item, classes), ...added.map((value) => value(item))]);
  return `\ufeff${[[...columns, ...Object.keys(more)], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
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
