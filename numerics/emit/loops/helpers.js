// An input by its own name: {shape: [7, 5], data: [...]}, or a number for a scalar.
function given(inputs, name, rank) {
  if (inputs === null || typeof inputs !== "object" || !Object.hasOwn(inputs, name)) {
    throw new Error(`${name}: no array is given`);
  }
  let array = inputs[name];
  if (typeof array === "number" || typeof array === "boolean") array = {shape: [], data: [Number(array)]};
  if (array === null || typeof array !== "object" || !Array.isArray(array.shape) || array.data === undefined) {
    throw new Error(`${name}: give {shape: [...], data: [...]}`);
  }
  if (array.shape.length !== rank) {
    throw new Error(`${name} has shape (${array.shape}), but it has ${rank} axes`);
  }
  const count = array.shape.reduce((n, m) => n * m, 1);
  if (!array.shape.every((n) => Number.isInteger(n) && n > 0) || array.data.length !== count) {
    throw new Error(`${name} has shape (${array.shape}) and ${array.data.length} numbers`);
  }
  return array;
}

// The numbers of an input, once its shape is known to be the one that the other arrays ask for.
function floats(array, name, shape) {
  if (array.shape.some((n, axis) => n !== shape[axis])) {
    throw new Error(`${name} has shape (${array.shape}), but it is (${shape})`);
  }
  return shape.length ? array.data : Number(array.data[0]);
}

// The same of whole numbers, below a bound, or `missing`.
function integers(array, name, shape, below, missing) {
  const data = floats(array, name, shape);
  for (const n of shape.length ? data : [data]) {
    if (!Number.isInteger(n) || (n !== missing && below !== undefined && (n < 0 || n >= below))) {
      throw new Error(`${name}: ${n} is out of the declared range` + (below === undefined ? "" : ` 0 <= ${name} < ${below}`));
    }
  }
  return data;
}

// The same of truth values, as 0 and 1.
function booleans(array, name, shape) {
  const data = floats(array, name, shape);
  return shape.length ? Uint8Array.from(data, Number) : data;
}

// Whether a value is above the best so far; one that is no number is, and stays.
function above(value, best) {
  return value > best || (value !== value && best === best);
}

function modulo(a, b) {
  return a - b * Math.floor(a / b);
}

function sigmoid(x) {
  const e = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

function softplus(x) {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

// log(1 - e^-x) by Maechler's two forms.
function log1mexp(x) {
  return x < Math.LN2 ? Math.log(-Math.expm1(-x)) : Math.log1p(-Math.exp(-x));
}

// log(e^a + e^b), which is -Infinity where both are.
function logaddexp(a, b) {
  const most = Math.max(a, b);
  return Number.isFinite(most) ? most + Math.log1p(Math.exp(-Math.abs(a - b))) : most;
}

// erf by its series with positive terms only, x e^(-x^2) sum 2^n x^(2n) / (2n+1)!!: for |x| < 1.5.
function errorSeries(x) {
  let sum = 0;
  for (let k = 25.5; k > 0.5; k -= 1) sum = 2 + (x * x * sum) / k;
  return (sum * x * Math.exp(-x * x)) / Math.sqrt(Math.PI);
}

// erfc(x) e^(x^2) by its continued fraction, far out by its asymptotic series: for x >= 1.5.
function errorFraction(x) {
  const far = 1 / (x * x);
  if (x > 500) return (1 - far * (0.5 - far * (0.75 - far * 1.875))) / (x * Math.sqrt(Math.PI));
  let a = 0, step = 0.5, p = 1, before = 0, q = 0.5 + x * x, below = 1;
  for (let k = 0; k < 50; k++) {
    a += step;
    step += 2;
    const b = step + x * x;
    [p, before] = [b * p - a * before, p];
    [q, below] = [b * q - a * below, q];
  }
  return ((p / q) * x) / Math.sqrt(Math.PI);
}

function erf(x) {
  if (x !== x || Math.abs(x) < 1.5) return errorSeries(x);
  const tail = errorFraction(Math.abs(x)) * Math.exp(-x * x);
  return x > 0 ? 1 - tail : tail - 1;
}

function erfc(x) {
  if (x !== x || Math.abs(x) < 1.5) return 1 - errorSeries(x);
  const tail = errorFraction(Math.abs(x)) * Math.exp(-x * x);
  return x > 0 ? tail : 2 - tail;
}

// log Phi(x) of the normal distribution: what is missing to 1 on the right, without e^(-x^2/2) on the left.
function logNdtr(x) {
  if (x > 0) return Math.log1p(-erfc(x / Math.SQRT2) / 2);
  return x > -3 ? Math.log(erfc(-x / Math.SQRT2) / 2) : Math.log(errorFraction(-x / Math.SQRT2) / 2) - (x * x) / 2;
}

// The inverse of erf: a first guess of three digits (Winitzki), then Halley's steps, which treble them.
function erfinv(y) {
  if (!(Math.abs(y) < 1)) return Math.abs(y) === 1 ? y * Infinity : NaN;
  const size = Math.abs(y), log = Math.log1p(-y * y), t = 2 / (Math.PI * 0.147) + log / 2;
  let x = Math.sqrt(Math.max(Math.sqrt(t * t - log / 0.147) - t, 0));
  for (let k = 0; k < 3; k++) {
    const off = size < 0.5 ? erf(x) - size : 1 - size - erfc(x);
    const u = (off * Math.sqrt(Math.PI) * Math.exp(x * x)) / 2;
    x -= u / (1 + x * u);
  }
  return y < 0 ? -x : x;
}

// The quantile of the normal distribution; in the tails a first guess (Abramowitz and Stegun 26.2.23), then Halley's steps.
function ndtri(p) {
  if (!(p > 0 && p < 1)) return p === 0 ? -Infinity : p === 1 ? Infinity : NaN;
  if (Math.abs(p - 0.5) < 0.25) return Math.SQRT2 * erfinv(2 * (p - 0.5));
  const tail = Math.min(p, 1 - p), t = Math.sqrt(-2 * Math.log(tail));
  let x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  for (let k = 0; k < 3; k++) {
    const half = Math.exp((x * x) / 4), u = (erfc(x / Math.SQRT2) / 2 - tail) * half * half * Math.sqrt(2 * Math.PI);
    x += u / (1 - (x * u) / 2);
  }
  return p < 0.5 ? -x : x;
}

const BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330];

// log |Gamma(x)|: Stirling's series, from 10 on; below by Gamma(x) = Gamma(x + 1) / x, for x < 1/2 through the sine.
function lgamma(x) {
  if (x === Infinity || x !== x) return x;
  if (x <= 0 && Number.isInteger(x)) return Infinity;
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * modulo(x, 2)))) - lgamma(1 - x);
  let product = 1;
  for (; x < 10; x += 1) product *= x;
  let series = 0;
  for (let k = 10; k > 0; k--) series = series / (x * x) + BERNOULLI[k - 1] / (2 * k * (2 * k - 1));
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series / x - Math.log(product);
}

// The derivative of log Gamma: its asymptotic series, from 10 on; below by psi(x) = psi(x + 1) - 1 / x.
function digamma(x) {
  if (x <= 0) return Number.isInteger(x) ? NaN : digamma(1 - x) - Math.PI / Math.tan(Math.PI * modulo(x, 1));
  let sum = 0;
  for (; x < 10; x += 1) sum -= 1 / x;
  let series = 0;
  for (let k = 10; k > 0; k--) series = (series + BERNOULLI[k - 1] / (2 * k)) / (x * x);
  return sum + Math.log(x) - 0.5 / x - series;
}

// The n-th derivative of digamma, n >= 1, for x > 0: all terms have one sign.
function polygamma(n, x) {
  if (!(x > 0)) return NaN;
  let factorial = 1;
  for (let k = 2; k <= n; k++) factorial *= k;
  let sum = 0;
  for (; x < 15 + n; x += 1) sum += factorial / x ** (n + 1);
  sum += factorial / n / x ** n + factorial / (2 * x ** (n + 1));
  let rising = factorial / n;  // (2k + n - 1)! / (2k)!
  for (let k = 1; k <= 10; k++) {
    rising *= ((2 * k + n - 2) * (2 * k + n - 1)) / ((2 * k - 1) * (2 * k));
    sum += (BERNOULLI[k - 1] * rising) / x ** (2 * k + n);
  }
  return n % 2 ? sum : -sum;
}

// The LU factors of a matrix of n rows, with the largest pivot of each column, and the sign of the order of rows.
function factored(matrix, n) {
  const rows = Float64Array.from(matrix), order = Array.from({length: n}, (_, k) => k);
  let sign = 1;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(rows[i * n + k]) > Math.abs(rows[pivot * n + k])) pivot = i;
    }
    if (pivot !== k) {
      for (let j = 0; j < n; j++) [rows[k * n + j], rows[pivot * n + j]] = [rows[pivot * n + j], rows[k * n + j]];
      [order[k], order[pivot]] = [order[pivot], order[k]];
      sign = -sign;
    }
    for (let i = k + 1; i < n; i++) {
      const factor = (rows[i * n + k] /= rows[k * n + k]);
      for (let j = k + 1; j < n; j++) rows[i * n + j] -= factor * rows[k * n + j];
    }
  }
  return {rows, order, sign};
}

function inverse(matrix, n) {
  const {rows, order} = factored(matrix, n), found = new Float64Array(n * n);
  for (let c = 0; c < n; c++) {
    const at = order[c];
    for (let i = 0; i < n; i++) {
      let sum = i === c ? 1 : 0;
      for (let j = 0; j < i; j++) sum -= rows[i * n + j] * found[j * n + at];
      found[i * n + at] = sum;
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let j = i + 1; j < n; j++) found[i * n + at] -= rows[i * n + j] * found[j * n + at];
      found[i * n + at] /= rows[i * n + i];
    }
  }
  return found;
}

function determinant(matrix, n) {
  const {rows, sign} = factored(matrix, n);
  let product = sign;
  for (let k = 0; k < n; k++) product *= rows[k * n + k];
  return product;
}

// The logarithm of the magnitude of a determinant.
function logAbsDeterminant(matrix, n) {
  const {rows} = factored(matrix, n);
  let sum = 0;
  for (let k = 0; k < n; k++) sum += Math.log(Math.abs(rows[k * n + k]));
  return sum;
}

// The logarithm of a positive determinant, and no number where it is not positive.
function logDeterminant(matrix, n) {
  const {rows, sign} = factored(matrix, n);
  let positive = sign > 0, sum = 0;
  for (let k = 0; k < n; k++) {
    if (rows[k * n + k] < 0) positive = !positive;
    sum += Math.log(Math.abs(rows[k * n + k]));
  }
  return positive ? sum : NaN;
}
