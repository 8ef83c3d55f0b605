/** Prometheus's text format, and what two scrapes say together. */

/** What one scrape said, and when (ms). */
export class Scrape {
  #samples = new Map();  // by name: pairs of labels and value

  constructor(text, at) {
    this.at = at;
    for (const line of text.split("\n")) {
      const [, name, inner = "", value] = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
      if (!name) continue;  // a comment, or empty
      const labels = Object.fromEntries([...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]));
      if (!this.#samples.has(name)) this.#samples.set(name, []);
      this.#samples.get(name).push([labels, number(value)]);
    }
  }

  /** The sum over all samples whose label has one of the values; without a label, over all. */
  sum(name, label, ...values) {
    let sum = 0;
    for (const [labels, value] of this.#samples.get(name) ?? []) if (!label || values.includes(labels[label])) sum += value;
    return sum;
  }

  /** Upper bounds of a histogram's buckets (seconds), rising, each with the count of all up to it. */
  buckets(name) {
    const counts = new Map();
    for (const [{ le }, value] of this.#samples.get(`${name}_bucket`) ?? []) counts.set(number(le), (counts.get(number(le)) ?? 0) + value);
    return [...counts].sort(([one], [other]) => one - other);
  }
}

const number = text => text === "+Inf" ? Infinity : Number(text);

/** A counter's growth, or null if it fell: another host answered, or the service began anew. */
export function growth(before, after, ...what) {
  const grown = after.sum(...what) - before.sum(...what);
  return grown < 0 ? null : grown;
}

export function rate(before, after, ...what) {
  const grown = growth(before, after, ...what);
  return grown === null ? null : grown * 1000 / (after.at - before.at);
}

/** The seconds within which this share of what was measured between two scrapes lay, as PromQL's histogram_quantile
    has it; null if nothing was measured. */
export function quantile(share, before, after, name) {
  const old = new Map(before.buckets(name));
  const grown = after.buckets(name).map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)]);
  const total = grown.at(-1)?.[1] ?? 0;
  if (!(total > 0) || grown.some(([, count]) => count < 0)) return null;
  const rank = share * total;
  let from = 0, below = 0;
  for (const [bound, count] of grown) {
    if (count >= rank) return bound === Infinity ? from : from + (bound - from) * (rank - below) / (count - below);
    [from, below] = [bound, count];
  }
  return from;
}
