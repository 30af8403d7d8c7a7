// What is trained on: classical sets of points in the plane, by seed, every number from one generator; and digits.
export function random(seed) {
  let a = seed >>> 0; // mulberry32
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function normal(uniform) {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const between = (uniform, low, high) => low + (high - low) * uniform();

const SETS = {
  circle(uniform, noise, first) {
    const radius = first ? between(uniform, 0, 2.4) : between(uniform, 3.5, 5), angle = between(uniform, 0, 2 * Math.PI);
    return [radius * Math.sin(angle) + 3 * noise * normal(uniform), radius * Math.cos(angle) + 3 * noise * normal(uniform)];
  },
  xor(uniform, noise, first) {
    const away = (v) => v + (v > 0 ? 0.3 : -0.3); // a gap between the quarters
    const x = away(between(uniform, -5, 5)), y = away(between(uniform, 0, 5)) * (first === x > 0 ? 1 : -1);
    return [x + noise * normal(uniform), y + noise * normal(uniform)];
  },
  gauss(uniform, noise, first) {
    const spread = 0.7 + 3 * noise, middle = first ? 2 : -2;
    return [middle + spread * normal(uniform), middle + spread * normal(uniform)];
  },
  spiral(uniform, noise, first, share) {
    const angle = 1.75 * share * 2 * Math.PI + (first ? 0 : Math.PI), radius = 5 * share;
    return [radius * Math.sin(angle) + 2 * noise * normal(uniform), radius * Math.cos(angle) + 2 * noise * normal(uniform)];
  },
};

// count points, of each class a half: x flat, two numbers a point, and the class of each
export function points(kind, noise, seed, count = 200) {
  const uniform = random(seed), x = new Float64Array(2 * count), label = new Uint8Array(count);
  for (let b = 0; b < count; b++) {
    label[b] = b % 2;
    const [u, v] = SETS[kind](uniform, noise, label[b] === 1, Math.floor(b / 2) / (count / 2));
    x[2 * b] = u;
    x[2 * b + 1] = v;
  }
  return {x, label, count, width: 2};
}

const HELD = 200; // digits that are not trained on

// Handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998), a line each: 64 letters from a (0) to q (16), the digit.
export async function digits() {
  const lines = (await (await fetch(new URL("digits.txt", import.meta.url))).text()).trim().split("\n");
  const all = (some) => ({
    x: Float64Array.from(some.flatMap((line) => [...line.slice(0, 64)].map((c) => (c.charCodeAt(0) - 97) / 16))),
    label: Uint8Array.from(some, (line) => Number(line[64])),
    count: some.length,
    width: 64,
  });
  return {...all(lines.slice(HELD)), held: all(lines.slice(0, HELD))};
}
