// What a person corrected -> the rows as CSV, and the chips as class folders, which
// python -m training.run train --data reads.

import { csv } from "./table.js";
import { zip } from "./zip.js";

// How files start, and the ending that training expects of them (training/data/class_folders.py).
const KINDS = [
  [[0x89, 0x50, 0x4e, 0x47], ".png"],
  [[0xff, 0xd8, 0xff], ".jpg"],
  [[0x49, 0x49], ".tif"],
  [[0x4d, 0x4d], ".tif"],
  [[0x93, 0x4e, 0x55, 0x4d], ".npy"],
];
const ENDINGS = /\.(png|jpe?g|tiff?|npy)$/i;
// Not allowed in a name on Windows; a slash would make the chip's old folder its class.
const FORBIDDEN = /[<>:"|?*\\/\u0000-\u001f]/g;

/** The chips whose right class somebody picked. */
export function checked(items) {
  return items.filter(({ right, result }) => right && result?.status === "ok");
}

/** Their rows, with the columns of a batch and the right class after them. */
export function correctedCsv(items, classes) {
  return csv(checked(items), classes, { right_class: ({ right }) => right });
}

/** Their files as a zip: Cargo/…, Fishing/…, Tanker/…, a folder for a class without any chip as well. */
export async function classFolders(items, classes) {
  const files = classes.map((name) => ({ name: `${name}/`, blob: new Blob() }));
  const taken = new Set();
  for (const { path, right, file } of checked(items)) {
    const name = await chipName(path, file);
    let unique = name;
    // Letters of either case are one name on Windows and macOS.
    for (let number = 2; taken.has(`${right}/${unique}`.toLowerCase()); number += 1) unique = `${number}-${name}`;
    taken.add(`${right}/${unique}`.toLowerCase());
    files.push({ name: `${right}/${unique}`, blob: file });
  }
  return zip(files);
}

/** The path as one name, with an ending that training reads. */
async function chipName(path, file) {
  const name = path.replace(FORBIDDEN, "_").replace(/^\.+/, "_");
  if (ENDINGS.test(name)) return name;
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const kind = KINDS.find(([start]) => start.every((byte, i) => head[i] === byte));
  return `${name}${kind?.[1] ?? ""}`;
}
