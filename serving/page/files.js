// What was dropped or chosen -> files with their paths, folders entered; archives set apart.

// What shipchip classify reads in place; the others have to be unpacked (docs/batch.md).
const READ_BY_BATCH = /\.(zip|tar|tar\.(gz|bz2|xz)|tgz|tbz2|txz)$/i;
const ARCHIVE = /\.(zip|tar|tar\.\w+|tgz|tbz2|txz|rar|7z)$/i;

// Files that other programs leave beside chips: the rule of is_sidecar in shipchip/files.py.
const SIDECAR = new RegExp([
  "^__macosx/|/__macosx/",
  "(^|/)\\._[^/]*$",
  "(^|/)(\\.ds_store|thumbs\\.db|ehthumbs\\.db|desktop\\.ini)$",
  "[^/]\\.(aux\\.xml|ovr|msk|(tf|tif|jg|jpg|jpeg|pg|png)wx?|wld|prj|sha256|md5)$",
].join("|"), "i");

export const isSidecar = (path) => SIDECAR.test(path);

// A file that was chosen itself is sent, whatever its name.
const isSidecarInFolder = (path) => path.includes("/") && isSidecar(path);

const inOrder = (files) => files.sort((a, b) => (a.path < b.path ? -1 : 1));

/** All files of a drop but sidecars in folders, in the order of their paths. */
export async function dropped({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...files].map((file) => ({ file, path: file.name }));
  return filesOf(entries);
}

async function filesOf(entries) {
  const found = [];
  for (const entry of entries) {
    const path = entry.fullPath.replace(/^\//, "");
    if (entry.isDirectory) {
      found.push(...await filesOf(await children(entry)));
    } else if (!isSidecarInFolder(path)) {
      const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
      found.push({ file, path });
    }
  }
  return inOrder(found);
}

async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return all;
    all.push(...some);
  }
}

/** What an input holds but sidecars in a folder; emptied, so that the same choice is a change again. */
export function chosen(input) {
  const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  input.value = "";
  return inOrder(files.filter(({ path }) => !isSidecarInFolder(path)));
}

/** [chips, advice]: what can be sent, and a sentence on each archive, which cannot. */
export function withoutArchives(files) {
  const advice = files.filter(({ path }) => ARCHIVE.test(path)).map(({ path }) => (READ_BY_BATCH.test(path)
    ? [path, "is an archive, and the page takes single chips. The command line reads it in place: ",
      "shipchip classify FILE --out answers.csv"]
    : [path, "is an archive that cannot be read in place. Unpack it, and drop the folder here.", ""]));
  return [files.filter(({ path }) => !ARCHIVE.test(path)), advice];
}

/** The simulated sample chips of this server, as files. Error where it does not give them. */
export async function samples(list) {
  const files = [];
  for (const path of list) {
    const response = await fetch(`demo/samples/${path}`);
    if (!response.ok) throw new Error(`the server refused a sample (${response.status})`);
    files.push({ file: new File([await response.blob()], path.split("/").at(-1)), path: `samples/${path}` });
  }
  return files;
}
