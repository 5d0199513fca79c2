
// --- answers -----------------------------------------------------------------------------------------------
// Items and answers are lists, as explorer.py describes them.

const [KEY, CELL, PROMPT, GOLD, CHOICES, WHY, SLICES, BASE, TUNED] = Array(9).keys();

const answerOf = (item, side) => {
  const [answer, score = null, known = -1, logs = [], ranges = []] = item[side];
  return { answer, score, known, logs, ranges };
};

const marginOf = ({ logs }) => {
  const [best, second] = [...logs].sort((a, b) => b - a);
  return second === undefined ? null : best - second;
};

// Below 0: sure of a wrong answer.
const surenessOf = (answer) => {
  const margin = marginOf(answer);
  return margin === null || answer.score === null ? null : answer.score > 0 ? margin : -margin;
};

const sharesOf = ({ logs }) => {
  const best = Math.max(...logs);
  const weights = logs.map((value) => Math.exp(value - best));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
};

// --- orders: numbers by which items are placed, the largest first, what has none last

const minus = (a, b) => (a === null || b === null ? null : a - b);

const changesOf = (item) => {
  const [base, tuned] = [answerOf(item, BASE), answerOf(item, TUNED)];
  return [minus(tuned.score, base.score), minus(surenessOf(tuned), surenessOf(base))];
};

const sizeOf = (value) => (value === null ? null : Math.abs(value));

const negative = (values) => values.map((value) => minus(0, value));

const ORDERS = {
  "as in the data": null,
  "gained most": changesOf,
  "lost most": (item) => negative(changesOf(item)),
  "base surest": (item) => [marginOf(answerOf(item, BASE))],
  "tuned surest": (item) => [marginOf(answerOf(item, TUNED))],
  "tuned least sure": (item) => negative([marginOf(answerOf(item, TUNED))]),
  "margin changed most": (item) => [sizeOf(changesOf(item)[1])],
};
const OF_MARGINS = Object.keys(ORDERS).slice(3);

const byNumbers = ([left], [right]) => {
  for (let at = 0; at < left.length; at += 1) {
    const [a, b] = [left[at], right[at]];
    if (a !== b) return a === null || b === null ? (a === null) - (b === null) : b - a;
  }
  return 0;
};
