// Files -> a zip archive (PKWARE's APPNOTE 6.3): stored, not compressed, so that no library is needed.

const MOST_FILES = 0xffff;
const MOST_BYTES = 0xffffffff; // beyond either, the format needs its 64-bit extension
const VERSION = 20; // 2.0: folders
const UTF8 = 0x0800; // names are UTF-8
const DATE = 0x21; // 1980-01-01, the first day that the format knows: equal files give equal bytes

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 of bytes, as zip and PNG have it. */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/**
 * A Blob of the archive. `files`: {name, blob}, with / between folders; a name that ends in / is a
 * folder, and its blob is empty. RangeError for what needs the 64-bit extension.
 */
export async function zip(files) {
  if (files.length > MOST_FILES) throw new RangeError(`${files.length} files; a zip takes ${MOST_FILES}`);
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const text = new TextEncoder().encode(name);
    const sum = crc32(new Uint8Array(await blob.arrayBuffer()));
    // What the file's own header and the directory both tell.
    const entry = [[2, UTF8], [2, 0], [2, 0], [2, DATE], [4, sum], [4, blob.size], [4, blob.size], [2, text.length], [2, 0]];
    const header = fields([4, 0x04034b50], [2, VERSION], ...entry);
    directory.push(fields([4, 0x02014b50], [2, VERSION], [2, VERSION], ...entry, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), text);
    parts.push(header, text, blob);
    offset += header.length + text.length + blob.size;
  }
  const size = directory.reduce((sum, piece) => sum + piece.length, 0);
  if (offset + size > MOST_BYTES) throw new RangeError("more than 4 GiB in one zip; pick fewer chips at once");
  const count = files.length;
  const end = fields([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Little-endian numbers, each [bytes, value]. */
function fields(...numbers) {
  const bytes = [];
  for (const [length, value] of numbers) {
    for (let i = 0; i < length; i += 1) bytes.push((value >>> (8 * i)) & 0xff);
  }
  return Uint8Array.from(bytes);
}
