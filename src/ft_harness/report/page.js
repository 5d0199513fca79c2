
"use strict";
// Text reaches the page as text nodes only. Nothing here is essential: the page can be read without it.
(() => {
  const make = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // --- tables: ascending, descending, as they were; undefined values last -------------------------------

  const words = new Intl.Collator("en", { numeric: true });

  const keyOf = (cell, numbers) => {
    if (numbers) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    return ["", "-"].includes(cell.textContent) ? null : cell.textContent;
  };

  const sortRows = (rows, column, direction) => {
    const numbers = rows.some((row) => row.cells[column].dataset.value !== undefined);
    const keyed = rows.map((row) => [keyOf(row.cells[column], numbers), row]);
    const compare = numbers ? (a, b) => a - b : words.compare;
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : direction * compare(a, b)));
    return keyed.map(([, row]) => row);
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", "sort");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
        const order = next === undefined ? "ascending" : next;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (order) head.setAttribute("aria-sort", order);
        body.append(...(order ? sortRows(rows, column, order === "ascending" ? 1 : -1) : rows));
      });
    });
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);

  // --- cases ----------------------------------------------------------------------------------------------------

  const source = document.getElementById("items");
  if (!source) return;
  const PAGE = 20;
  const WAIT = 120; // ms after the last key
  const [KEY, CELL, PROMPT, GOLD, BASE, TUNED, BASE_KNOWN, TUNED_KNOWN, WHY, SLICES] = Array(10).keys();
  const SEARCHED = [PROMPT, GOLD, BASE, TUNED, WHY];
  const { texts, groups } = JSON.parse(source.textContent);
  const lower = texts.map((text) => text.toLowerCase());
  const explorer = document.querySelector(".explorer");
  const form = explorer.querySelector("form");
  const { group, cell, class: gold, slice, text } = form.elements;
  const status = explorer.querySelector(".found");
  const list = explorer.querySelector(".cases");
  let found = [];
  let page = 0;
  let timer = 0;

  const option = (value, shown) => {
    const made = make("option", "", shown);
    made.value = value;
    return made;
  };

  const fill = (select, every, options) => {
    const before = select.value;
    select.replaceChildren(option("", every), ...options);
    select.value = before;
    if (select.selectedIndex < 0) select.value = "";
  };

  const count = (number) => number.toLocaleString("en");

  const chooseGroup = () => {
    const chosen = groups[group.value];
    const sizes = new Map();
    const add = (name) => sizes.set(name, (sizes.get(name) || 0) + 1);
    chosen.items.forEach((item) => [item[CELL], `gold ${item[GOLD]}`, ...item[SLICES]].forEach(add));
    const shown = (number, key) => option(number, `${texts[number]} (${count(sizes.get(key) || 0)})`);
    fill(cell, "all", chosen.cells.map((number) => shown(number, number)));
    fill(gold, "all", chosen.classes.map((number) => shown(number, `gold ${number}`)));
    gold.closest("label").hidden = !chosen.classes.length;
    const kinds = chosen.slices.map(([kind, values]) => {
      const made = make("optgroup");
      made.label = texts[kind];
      made.append(...values.map((number) => shown(number, number)));
      return made;
    });
    fill(slice, "all", kinds);
    slice.closest("label").hidden = !kinds.length;
  };

  const search = () => {
    const wanted = text.value.trim().toLowerCase();
    const [inCell, ofGold, inSlice] = [cell, gold, slice].map((select) => (select.value === "" ? -1 : Number(select.value)));
    const known = new Int8Array(wanted ? texts.length : 0); // 1: the text has it, -1: it has not
    const has = (number) => {
      if (number < 0) return false;
      if (!known[number]) known[number] = lower[number].includes(wanted) ? 1 : -1;
      return known[number] > 0;
    };
    const items = groups[group.value].items;
    found = items.filter(
      (item) =>
        (inCell < 0 || item[CELL] === inCell) &&
        (ofGold < 0 || item[GOLD] === ofGold) &&
        (inSlice < 0 || item[SLICES].includes(inSlice)) &&
        (!wanted || SEARCHED.some((part) => has(item[part]))),
    );
    page = 0;
    show();
  };

  // The text with what was searched for marked; a letter whose lower case is longer leaves it unmarked.
  const marked = (tag, name, shown) => {
    const made = make(tag, name);
    const wanted = text.value.trim().toLowerCase();
    const folded = shown.toLowerCase();
    let from = 0;
    if (wanted && folded.length === shown.length) {
      for (let at = folded.indexOf(wanted); at >= 0; at = folded.indexOf(wanted, from)) {
        made.append(shown.slice(from, at), make("mark", "", shown.slice(at, at + wanted.length)));
        from = at + wanted.length;
      }
    }
    made.append(shown.slice(from));
    return made;
  };

  const GOOD = ["corrected", "better"];
  const BAD = ["broken", "worse"];

  const showItem = (item) => {
    const made = make("li");
    const transition = texts[item[CELL]];
    const head = make("h3", "", "");
    const tone = GOOD.includes(transition) ? " better" : BAD.includes(transition) ? " worse" : "";
    head.append(make("span", `cell${tone}`, transition), " ", make("span", "key", `item ${texts[item[KEY]]}`));
    const answers = make("dl");
    const sides = [["Gold", GOLD, -1], ["Base", BASE, item[BASE_KNOWN]], ["Tuned", TUNED, item[TUNED_KNOWN]]];
    sides.forEach(([name, part, known]) => {
      const answer = marked("dd", "", texts[item[part]]);
      if (known >= 0) answer.append(" ", make("span", "known", `(${texts[known]})`));
      answers.append(make("dt", "", name), answer);
    });
    if (item[WHY] >= 0) answers.append(make("dt", "", "Why"), marked("dd", "", texts[item[WHY]]));
    made.append(head, marked("pre", "", texts[item[PROMPT]]), answers);
    if (item[SLICES].length) made.append(make("p", "slices", item[SLICES].map((number) => texts[number]).join("; ")));
    return made;
  };

  const show = () => {
    const all = groups[group.value].items.length;
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    list.replaceChildren(...shown.map(showItem));
    list.start = page * PAGE + 1;
    const range = shown.length ? `, shown are ${count(page * PAGE + 1)} to ${count(page * PAGE + shown.length)}` : "";
    status.textContent = `${count(found.length)} of ${count(all)} cases${range}`;
    pagers.forEach(({ box, buttons, place }) => {
      box.hidden = !last;
      buttons.forEach((button, at) => button.setAttribute("aria-disabled", at < 2 ? page === 0 : page === last));
      place.textContent = `Page ${count(page + 1)} of ${count(last + 1)}`;
    });
  };

  const turn = (to, below) => {
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    const next = Math.min(last, Math.max(0, to));
    if (next === page) return;
    page = next;
    show();
    if (below) {
      list.focus({ preventScroll: true });
      status.scrollIntoView();
    }
  };

  const pagers = [...explorer.querySelectorAll(".pages")].map((box, below) => {
    const place = make("span");
    const steps = { First: () => 0, Previous: () => page - 1, Next: () => page + 1, Last: () => Infinity };
    const buttons = Object.entries(steps).map(([name, to]) => {
      const button = make("button", "", name);
      button.type = "button";
      button.addEventListener("click", () => turn(to(), below));
      return button;
    });
    box.append(...buttons.slice(0, 2), place, ...buttons.slice(2));
    return { box, buttons, place };
  });

  group.replaceChildren(...groups.map(({ name }, number) => option(number, texts[name])));
  group.closest("label").hidden = groups.length < 2;
  group.addEventListener("change", () => {
    chooseGroup();
    search();
  });
  [cell, gold, slice].forEach((select) => select.addEventListener("change", search));
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, WAIT);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    search();
  });
  form.addEventListener("reset", () => {
    const chosen = group.value;
    setTimeout(() => {
      group.value = chosen;
      search();
    });
  });
  chooseGroup();
  search();
  explorer.hidden = false;
  document.querySelectorAll(".unscripted").forEach((said) => said.remove());
})();
