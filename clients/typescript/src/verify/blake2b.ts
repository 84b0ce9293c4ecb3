/**
 * BLAKE2b without a key (RFC 7693), which WebCrypto lacks. It names keys and guards no secret; it is asked for a few
 * short messages an hour, so it is written to be read.
 */

const MASK = (1n << 64n) - 1n;
const BLOCK = 128;
// prettier-ignore
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
/** The order of the words in each round, one hexadecimal digit for each. */
// prettier-ignore
const SIGMA = [
  "0123456789abcdef", "ea489fd61c02b753",
  "b8c052fdae367194", "7931dcbe265a40f8",
  "905724afe1bc683d", "2c6a0b834d75fe19",
  "c51fed4a0763928b", "db7ec13950f4862a",
  "6fe9b308c2d714a5", "a2847615fb9e3cd0",
];
/** Columns, then diagonals. */
// prettier-ignore
const LINES = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
] as const;

/** The digest of so many bytes, 64 at most. */
export function blake2b(message: Uint8Array, length: number): Uint8Array {
  const hash = new BigUint64Array(IV);
  hash[0] = word(hash, 0) ^ 0x01010000n ^ BigInt(length);
  const blocks = Math.max(Math.ceil(message.length / BLOCK), 1);
  for (let block = 0; block < blocks; block += 1) {
    const padded = new Uint8Array(BLOCK);
    padded.set(message.subarray(block * BLOCK, (block + 1) * BLOCK));
    const isLast = block === blocks - 1;
    compress(hash, padded, BigInt(isLast ? message.length : (block + 1) * BLOCK), isLast);
  }
  const bytes = new DataView(new ArrayBuffer(64));
  hash.forEach((value, index) => {
    bytes.setBigUint64(index * 8, value, true);
  });
  return new Uint8Array(bytes.buffer, 0, length);
}

function compress(hash: BigUint64Array, block: Uint8Array, count: bigint, isLast: boolean): void {
  const view = new DataView(block.buffer);
  const words = new BigUint64Array(16).map((_, index) => view.getBigUint64(index * 8, true));
  const state = new BigUint64Array([...hash, ...IV]);
  state[12] = word(state, 12) ^ count;
  if (isLast) state[14] = word(state, 14) ^ MASK;
  for (let round = 0; round < 12; round += 1) {
    const order = Array.from(SIGMA[round % 10] ?? "", (digit) => Number.parseInt(digit, 16));
    LINES.forEach(([a, b, c, d], line) => {
      half(state, a, b, c, d, word(words, order[2 * line]), 32n, 24n);
      half(state, a, b, c, d, word(words, order[2 * line + 1]), 16n, 63n);
    });
  }
  hash.forEach((value, index) => {
    hash[index] = value ^ word(state, index) ^ word(state, index + 8);
  });
}

/** Half of the mixing function G. */
function half(
  state: BigUint64Array,
  a: number,
  b: number,
  c: number,
  d: number,
  x: bigint,
  r1: bigint,
  r2: bigint,
): void {
  // What is stored is cut to 64 bits.
  state[a] = word(state, a) + word(state, b) + x;
  state[d] = rotated(word(state, d) ^ word(state, a), r1);
  state[c] = word(state, c) + word(state, d);
  state[b] = rotated(word(state, b) ^ word(state, c), r2);
}

function rotated(value: bigint, bits: bigint): bigint {
  return (value >> bits) | ((value << (64n - bits)) & MASK);
}

function word(words: BigUint64Array, index = 0): bigint {
  return words[index] ?? 0n;
}
