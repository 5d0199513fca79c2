
// --- cases.csv, as comparison/cases/table.py reads it --------------------------------------------------------

const FORMULA = /^[\s\ufeff'"]*[=+\-@\t\r]/; // what a spreadsheet would compute begins with an apostrophe

// The rows of `table` with the texts of `changed`; what is in neither an old row nor the texts stays empty.
const writeCases = (table, changed) => {
  const nameOf = (values) => JSON.stringify([values.base, values.tuned, values.item_key]);
  const rows = new Map();
  table.rows.forEach((cells) => {
    const values = Object.fromEntries(table.columns.map((name, place) => [name, cells[place]]));
    rows.set(nameOf(values), values);
  });
  changed.forEach((values) => {
    rows.set(nameOf(values), { ...values, ...rows.get(nameOf(values)), why: values.why });
  });
  const quoted = (cell) => `"${(FORMULA.test(cell) ? `'${cell}` : cell).replaceAll('"', '""')}"`;
  const lines = [...rows.values()].map((values) => table.columns.map((name) => quoted(values[name] || "")).join(","));
  return `\ufeff${[table.columns.map(quoted).join(","), ...lines].join("\r\n")}\r\n`;
};
