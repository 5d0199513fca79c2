
// --- cases -----------------------------------------------------------------------------------------------
// What is held is described in explorer.py; the address behind # holds what was chosen, as words.

(async () => {
  const source = document.getElementById("items");
  if (!source) return;
  const PAGE = 24;
  const WAIT = 120; // ms after the last key
  const PLACE = "#case-explorer";

  const unpack = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  };

  const { texts, choices, sides, groups, table } = await unpack(source.textContent);
  const lower = texts.map((text) => text.toLowerCase());
  const explorer = document.querySelector(".explorer");
  const form = explorer.querySelector("form");
  const { comparison, cell, gold, slice, order, text, why } = form.elements;
  const status = explorer.querySelector(".found");
  const list = explorer.querySelector(".cases");
  const link = explorer.querySelector(".link");
  const written = new Map(); // item -> what was typed here
  let found = [];
  let page = 0;
  let timer = 0;
  let only = null; // the text of a key: that item alone is shown

  const knownOf = (answer) => {
    const margin = marginOf(answer);
    const parts = answer.known < 0 ? [] : [texts[answer.known]];
    if (margin !== null) parts.push(`${margin.toFixed(2)} nats ahead`);
    return parts.join(", ");
  };

  const whyOf = (item) => (written.has(item) ? written.get(item) : item[WHY] < 0 ? "" : texts[item[WHY]]);

  const placed = (group, name) => {
    group.placed ??= new Map();
    if (!ORDERS[name]) return group.items;
    if (!group.placed.has(name)) {
      const keyed = group.items.map((item) => [ORDERS[name](item), item]).sort(byNumbers);
      group.placed.set(name, keyed.map(([, item]) => item));
    }
    return group.placed.get(name);
  };

  // --- what can be chosen

  const count = (number) => number.toLocaleString("en");

  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options);
    select.value = before;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  };

  const groupNow = () => groups[comparison.value];

  const chooseGroup = () => {
    const chosen = groupNow();
    const sizes = new Map();
    const add = (name) => sizes.set(name, (sizes.get(name) || 0) + 1);
    chosen.items.forEach((item) => [item[CELL], `gold ${item[GOLD]}`, ...item[SLICES]].forEach(add));
    const shown = (number, key) => option(number, `${texts[number]} (${count(sizes.get(key) || 0)})`);
    const all = option("", "all");
    fill(cell, [all.cloneNode(true), ...chosen.cells.map((number) => shown(number, number))]);
    fill(gold, [all.cloneNode(true), ...chosen.classes.map((number) => shown(number, `gold ${number}`))]);
    const kinds = chosen.slices.map(([kind, values]) => {
      const made = make("optgroup");
      made.label = texts[kind];
      made.append(...values.map((number) => shown(number, number)));
      return made;
    });
    fill(slice, [all, ...kinds]);
    const margins = chosen.items.some((item) => answerOf(item, BASE).logs.length);
    const names = Object.keys(ORDERS).filter((name) => margins || !OF_MARGINS.includes(name));
    fill(order, names.map((name) => option(name, name)));
    gold.closest("label").hidden = !chosen.classes.length;
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
    const hasWhy = (item) => (written.has(item) ? written.get(item).toLowerCase().includes(wanted) : has(item[WHY]));
    found = placed(groupNow(), order.value).filter(
      (item) =>
        (only === null || texts[item[KEY]] === only) &&
        (inCell < 0 || item[CELL] === inCell) &&
        (ofGold < 0 || item[GOLD] === ofGold) &&
        (inSlice < 0 || item[SLICES].includes(inSlice)) &&
        (!why.checked || whyOf(item).trim()) &&
        (!wanted || [item[PROMPT], item[GOLD], item[BASE][0], item[TUNED][0]].some(has) || hasWhy(item)),
    );
    page = 0;
    show();
    link.hash = chosenNow();
    if (location.hash.startsWith(`${PLACE}?`) || link.hash !== hashOf({})) history.replaceState(null, "", link.hash);
  };

  // --- the address

  const hashOf = (chosen) => `${PLACE}?${new URLSearchParams({ comparison: texts[groupNow().name], ...chosen })}`;

  const chosenNow = () => {
    const chosen = {};
    Object.entries({ cell, gold, slice }).forEach(([name, select]) => {
      if (select.value !== "") chosen[name] = texts[select.value];
    });
    if (order.selectedIndex) chosen.order = order.value;
    if (text.value.trim()) chosen.text = text.value.trim();
    if (why.checked) chosen.why = "yes";
    if (only !== null) chosen.item = only;
    return hashOf(chosen);
  };

  const openAddress = () => {
    if (!location.hash.startsWith(`${PLACE}?`)) return;
    const asked = new URLSearchParams(location.hash.slice(PLACE.length + 1));
    only = asked.get("item");
    const named = groups.findIndex((group) => texts[group.name] === asked.get("comparison"));
    const holding = groups.findIndex((group) => group.items.some((item) => texts[item[KEY]] === only));
    if (named >= 0 || holding >= 0) comparison.value = named >= 0 ? named : holding;
    chooseGroup();
    Object.entries({ cell, gold, slice }).forEach(([name, select]) => {
      const fits = [...select.options].find((each) => each.value !== "" && texts[each.value] === asked.get(name));
      select.value = fits ? fits.value : "";
    });
    order.value = asked.get("order");
    if (order.selectedIndex < 0) order.selectedIndex = 0;
    text.value = asked.get("text") || "";
    why.checked = asked.get("why") === "yes";
    search();
    document.getElementById(PLACE.slice(1)).scrollIntoView();
  };

  // --- a case

  // The text with what was searched for and what the other answer lacks marked. A text of which a letter's lower
  // case is longer has no marks of a search.
  const marked = (tag, name, shown, ranges = [], different = "ins") => {
    const made = make(tag, name);
    const wanted = text.value.trim().toLowerCase();
    const folded = shown.toLowerCase();
    const hits = [];
    if (wanted && folded.length === shown.length) {
      for (let at = folded.indexOf(wanted); at >= 0; at = folded.indexOf(wanted, at + wanted.length)) {
        hits.push(at, at + wanted.length);
      }
    }
    const inside = (bounds, at) => bounds.filter((bound) => bound <= at).length % 2 === 1;
    const cuts = [...new Set([0, ...hits, ...ranges, shown.length])].sort((a, b) => a - b);
    cuts.slice(0, -1).forEach((from, place) => {
      let piece = document.createTextNode(shown.slice(from, cuts[place + 1]));
      [["mark", hits], [different, ranges]].forEach(([kind, bounds]) => {
        if (!inside(bounds, from)) return;
        const around = make(kind);
        around.append(piece);
        piece = around;
      });
      made.append(piece);
    });
    return made;
  };

  const showChoices = (item) => {
    const names = choices[item[CHOICES]];
    const shares = [BASE, TUNED].map((side) => sharesOf(answerOf(item, side)));
    const rows = names.map((name, place) =>
      row(
        texts[name],
        ["base", "tuned"].map((side, at) => {
          const made = make("td", side, `${(100 * shares[at][place]).toFixed(0)} %`);
          made.append(bar(shares[at][place]));
          return made;
        }),
      ),
    );
    return makeTable("Probability among the choices", ["Choice", "Base", "Tuned"], rows);
  };

  const twinIn = (group, key) => {
    group.places ??= new Map(group.items.map((item) => [item[KEY], item]));
    return group.places.get(key);
  };

  const outcome = (answer) => (answer.known >= 0 || answer.score === null ? "" : answer.score === 1 ? "right" : "wrong");

  // One item in all comparisons that hold it: each base once, each tuned model below it.
  const showEverywhere = (item) => {
    const holding = groups.filter((group) => twinIn(group, item[KEY]));
    const several = new Set(holding.map((group) => `${group.task} ${group.split}`)).size > 1;
    const seen = new Set();
    const rows = holding.flatMap((group) => {
      const twin = twinIn(group, item[KEY]);
      return [[group.base, BASE, "del"], [group.tuned, TUNED, "ins"]].flatMap(([side, place, kind]) => {
        if (seen.has(side)) return [];
        seen.add(side);
        const answer = answerOf(twin, place);
        const shown = marked("td", "", texts[answer.answer], place === BASE ? [] : answer.ranges, kind);
        const known = [outcome(answer), knownOf(answer)].filter(Boolean).join(", ");
        const where = several ? `, ${texts[group.task]} (${texts[group.split]})` : "";
        return [row(`${texts[sides[side][0]]}${where}`, [shown, make("td", "known", known)])];
      });
    });
    return makeTable("The item in every evaluation", ["Evaluation", "Answer", ""], rows);
  };

  const offerEverywhere = (item) => {
    const made = make("div");
    const button = make("button", "", "In every evaluation");
    button.type = "button";
    const toggle = () => {
      const shown = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", !shown);
      if (shown) made.lastChild.remove();
      else made.append(showEverywhere(item));
    };
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", toggle);
    made.append(button);
    if (only !== null) toggle();
    return made;
  };

  const askWhy = (item) => {
    const label = make("label", "why", "Why");
    const field = make("textarea");
    field.rows = 2;
    field.value = whyOf(item);
    field.addEventListener("input", () => {
      written.set(item, field.value);
      sayUnsaved();
    });
    label.append(field);
    return label;
  };

  const TONES = { corrected: "better", better: "better", broken: "worse", worse: "worse" };

  const showItem = (item) => {
    const made = make("li");
    const transition = texts[item[CELL]];
    const head = make("h3");
    const name = Object.assign(make("a", "key", `item ${texts[item[KEY]]}`), { href: hashOf({ item: texts[item[KEY]] }) });
    head.append(make("span", `cell badge ${TONES[transition] || ""}`.trim(), transition), " ", name);
    const answers = make("dl");
    answers.append(make("dt", "", "Gold"), marked("dd", "", texts[item[GOLD]]));
    [["Base", BASE, "del"], ["Tuned", TUNED, "ins"]].forEach(([title, side, kind]) => {
      const answer = answerOf(item, side);
      const shown = marked("dd", "", texts[answer.answer], answer.ranges, kind);
      const known = knownOf(answer);
      if (known) shown.append(" ", make("span", "known", `(${known})`));
      answers.append(make("dt", "", title), shown);
    });
    made.append(head, marked("pre", "", texts[item[PROMPT]]), answers);
    if (item[CHOICES] >= 0) made.append(showChoices(item));
    if (item[SLICES].length) made.append(make("p", "slices", item[SLICES].map((number) => texts[number]).join("; ")));
    made.append(askWhy(item));
    if (groups.filter((group) => twinIn(group, item[KEY])).length > 1) made.append(offerEverywhere(item));
    return made;
  };

  // --- pages of cases

  const lastPage = () => Math.max(0, Math.ceil(found.length / PAGE) - 1);

  const show = () => {
    const all = groupNow().items.length;
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    list.replaceChildren(...shown.map(showItem));
    list.start = page * PAGE + 1;
    reachScrolled(list.querySelectorAll("pre"));
    const range = shown.length ? `, shown are ${count(page * PAGE + 1)} to ${count(page * PAGE + shown.length)}` : "";
    status.textContent = `${count(found.length)} of ${count(all)} cases${range}`;
    pagers.forEach(({ box, buttons, place }) => {
      box.hidden = !lastPage();
      buttons.forEach((button, at) => button.setAttribute("aria-disabled", at < 2 ? page === 0 : page === lastPage()));
      place.textContent = `Page ${count(page + 1)} of ${count(lastPage() + 1)}`;
    });
  };

  const turn = (to, below) => {
    const next = Math.min(lastPage(), Math.max(0, to));
    if (next === page) return;
    page = next;
    show();
    if (below) {
      list.focus({ preventScroll: true });
      status.parentElement.scrollIntoView();
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

  // --- why, and its file

  const rowOf = (item, group) => ({
    task: texts[group.task],
    split: texts[group.split],
    base: texts[sides[group.base][1]],
    tuned: texts[sides[group.tuned][1]],
    item_key: texts[item[KEY]],
    in_sheet: "no",
    transition: texts[item[CELL]],
    gold: texts[item[GOLD]],
    base_answer: texts[item[BASE][0]],
    tuned_answer: texts[item[TUNED][0]],
    input: texts[item[PROMPT]],
  });

  const changedRows = () =>
    groups.flatMap((group) =>
      group.items
        .filter((item) => written.has(item))
        .map((item) => ({ ...rowOf(item, group), why: written.get(item) })),
    );

  const unsaved = explorer.querySelector(".unsaved");
  let isUnsaved = false;

  const sayUnsaved = () => {
    isUnsaved = true;
    const texted = written.size === 1 ? "One text is" : `${count(written.size)} texts are`;
    unsaved.textContent = `${texted} in this window only. Download cases.csv into the report's folder and run the report's command again.`;
  };

  explorer.querySelector(".save").addEventListener("click", () => {
    const made = make("a");
    made.href = URL.createObjectURL(new Blob([writeCases(table, changedRows())], { type: "text/csv" }));
    made.download = "cases.csv";
    made.click();
    setTimeout(() => URL.revokeObjectURL(made.href), 60000);
    isUnsaved = false;
    unsaved.textContent = "";
  });
  addEventListener("beforeunload", (event) => {
    if (isUnsaved) event.preventDefault();
  });

  // --- what a reader does

  comparison.replaceChildren(...groups.map(({ name }, number) => option(number, texts[name])));
  comparison.closest("label").hidden = groups.length < 2;
  const change = () => {
    only = null;
    search();
  };
  comparison.addEventListener("change", () => {
    chooseGroup();
    change();
  });
  [cell, gold, slice, order, why].forEach((field) => field.addEventListener("change", change));
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(change, WAIT);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    change();
  });
  form.addEventListener("reset", () => {
    const chosen = comparison.value;
    setTimeout(() => {
      comparison.value = chosen;
      change();
    });
  });
  addEventListener("hashchange", openAddress);
  chooseGroup();
  explorer.hidden = false;
  document.querySelectorAll(".unscripted").forEach((said) => said.remove());
  if (location.hash.startsWith(`${PLACE}?`)) openAddress();
  else search();
})();
