// A QR code of a short text (ISO/IEC 18004): bytes, versions 1 to 10, correction level M.

// For each version: code words in all, of them for correction in each block, blocks.
const SIZES = [[26, 10, 1], [44, 16, 1], [70, 26, 1], [100, 18, 2], [134, 24, 2], [172, 16, 4], [196, 18, 4], [242, 22, 4], [292, 22, 5], [346, 26, 5]];
const CENTRES = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

// Powers and logarithms in GF(256) over x^8 + x^4 + x^3 + x^2 + 1.
const power = new Uint8Array(512), log = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  power[i] = power[i + 255] = x;
  log[x] = i;
  x = (x << 1) ^ (x & 128 ? 0x11d : 0);
}
const times = (a, b) => (a && b ? power[log[a] + log[b]] : 0);

function correction(data, count) {
  let divisor = [1];
  for (let i = 0; i < count; i++) {
    const next = [...divisor, 0];
    divisor.forEach((c, j) => { next[j + 1] ^= times(c, power[i]); });
    divisor = next;
  }
  const rest = [...data, ...new Array(count).fill(0)];
  for (let i = 0; i < data.length; i++) {
    const lead = rest[i];
    if (lead) divisor.forEach((c, j) => { rest[i + j] ^= times(c, lead); });
  }
  return rest.slice(data.length);
}

function codeWords(bytes, version) {
  const [total, checks, blocks] = SIZES[version - 1];
  const room = total - checks * blocks;
  const bits = [];
  const put = (value, length) => { for (let i = length - 1; i >= 0; i--) bits.push((value >> i) & 1); };
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const b of bytes) put(b, 8);
  put(0, Math.min(4, 8 * room - bits.length));
  while (bits.length % 8) bits.push(0);
  const data = [];
  for (let i = 0; i < bits.length; i += 8) data.push(bits.slice(i, i + 8).reduce((a, b) => 2 * a + b, 0));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const short = Math.floor(room / blocks), longer = room % blocks; // the last `longer` blocks have one word more
  const parts = [];
  for (let i = 0, at = 0; i < blocks; i++) {
    const length = short + (i >= blocks - longer ? 1 : 0);
    parts.push(data.slice(at, at + length));
    at += length;
  }
  const ends = parts.map((p) => correction(p, checks));
  const out = [];
  for (let i = 0; i <= short; i++) for (const p of parts) if (i < p.length) out.push(p[i]);
  for (let i = 0; i < checks; i++) for (const e of ends) out.push(e[i]);
  return out;
}

const MASKS = [
  (y, x) => (y + x) % 2, (y) => y % 2, (y, x) => x % 3, (y, x) => (y + x) % 3,
  (y, x) => ((y >> 1) + Math.floor(x / 3)) % 2, (y, x) => ((y * x) % 2) + ((y * x) % 3),
  (y, x) => (((y * x) % 2) + ((y * x) % 3)) % 2, (y, x) => (((y + x) % 2) + ((y * x) % 3)) % 2,
];

const remainder = (value, divisor, bits) => {
  let rest = value << bits;
  for (let i = 31 - Math.clz32(rest); i >= bits; i--) if ((rest >> i) & 1) rest ^= divisor << (i - bits);
  return (value << bits) | rest;
};

function drawn(words, version, mask) {
  const side = 17 + 4 * version;
  const dark = Array.from({ length: side }, () => new Uint8Array(side));
  const fixed = Array.from({ length: side }, () => new Uint8Array(side));
  const set = (y, x, on) => { if (y >= 0 && x >= 0 && y < side && x < side) { dark[y][x] = on ? 1 : 0; fixed[y][x] = 1; } };
  for (let i = 0; i < side; i++) { set(6, i, i % 2 === 0); set(i, 6, i % 2 === 0); }
  for (const [cy, cx] of [[3, 3], [3, side - 4], [side - 4, 3]]) {
    for (let y = -4; y <= 4; y++) for (let x = -4; x <= 4; x++) {
      const ring = Math.max(Math.abs(y), Math.abs(x));
      set(cy + y, cx + x, ring !== 2 && ring !== 4);
    }
  }
  const centres = CENTRES[version - 1], last = centres.length - 1;
  centres.forEach((cy, i) => centres.forEach((cx, j) => {
    if ((i === 0 && (j === 0 || j === last)) || (i === last && j === 0)) return; // where a finder is
    for (let y = -2; y <= 2; y++) for (let x = -2; x <= 2; x++) set(cy + y, cx + x, Math.max(Math.abs(y), Math.abs(x)) !== 1);
  }));
  const format = remainder(mask, 0x537, 10) ^ 0x5412; // level M is 00
  for (let i = 0; i < 15; i++) {
    const on = (format >> i) & 1;
    const along = i < 6 ? i : i < 8 ? i + 1 : 14 - i + (i < 9 ? 1 : 0);
    if (i < 8) { set(along, 8, on); set(8, side - 1 - i, on); } else { set(8, along, on); set(side - 15 + i, 8, on); }
  }
  set(side - 8, 8, true);
  if (version >= 7) {
    const known = remainder(version, 0x1f25, 12);
    for (let i = 0; i < 18; i++) {
      const a = Math.floor(i / 3), b = side - 11 + (i % 3), on = (known >> i) & 1;
      set(a, b, on);
      set(b, a, on);
    }
  }
  let at = 0;
  for (let right = side - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const upward = ((right + 1) & 2) === 0;
    for (let step = 0; step < side; step++) {
      const y = upward ? side - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        const bit = at < 8 * words.length ? (words[at >> 3] >> (7 - (at & 7))) & 1 : 0;
        at++;
        dark[y][x] = bit ^ (MASKS[mask](y, x) === 0 ? 1 : 0);
      }
    }
  }
  return dark;
}

// How hard a pattern is to read, by the standard's four rules.
function penalty(dark) {
  const side = dark.length;
  let sum = 0, count = 0;
  const lines = [...dark.map((r) => [...r].join("")), ...dark.map((_, x) => dark.map((r) => r[x]).join(""))];
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
    sum += 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
    count += dark[y][x];
    if (y && x && dark[y][x] === dark[y - 1][x] && dark[y][x] === dark[y][x - 1] && dark[y][x] === dark[y - 1][x - 1]) sum += 3;
  }
  return sum + 10 * Math.floor(Math.abs((20 * count) / (side * side) - 10));
}

// Rows of 0 and 1, without the light border of four that belongs around it. Throws RangeError for too long a text.
export function modules(text) {
  const bytes = new TextEncoder().encode(text);
  const version = SIZES.findIndex(([total, checks, blocks], i) => 8 * (total - checks * blocks) >= 4 + (i < 9 ? 8 : 16) + 8 * bytes.length) + 1;
  if (!version) throw new RangeError("This text is too long for a QR code.");
  const words = codeWords(bytes, version);
  const tries = MASKS.map((_, mask) => drawn(words, version, mask));
  return tries.reduce((best, one) => (penalty(one) < penalty(best) ? one : best));
}

export function picture(text, label) {
  const rows = modules(text), side = rows.length + 8;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
  svg.setAttribute("class", "qr");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", rows.flatMap((r, y) => [...r].map((on, x) => (on ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join(""));
  svg.append(path);
  return svg;
}
