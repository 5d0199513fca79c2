
// --- contents: the section that is being read ------------------------------------------------------------

(() => {
  const contents = document.querySelector("nav details");
  const links = [...contents.querySelectorAll("a")];
  const heads = links.map((link) => document.getElementById(link.hash.slice(1)));
  const wide = matchMedia("(min-width: 64rem)");
  const READ = 120; // px below the upper edge: a heading above it has been reached
  let current = null;
  let waiting = false;

  const follow = () => {
    waiting = false;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const reached = heads.filter((head) => head.getBoundingClientRect().top < READ).length;
    const link = links[Math.max(0, atEnd && scrollY > 0 ? links.length - 1 : reached - 1)];
    if (link === current) return;
    if (current) current.removeAttribute("aria-current");
    if (link) link.setAttribute("aria-current", "true");
    current = link;
    const bar = contents.parentElement;
    if (!link || !wide.matches) return;
    const [top, shown] = [link.offsetTop - bar.offsetTop, bar.clientHeight];
    if (top < bar.scrollTop || top > bar.scrollTop + shown - 40) bar.scrollTop = top - shown / 2;
  };

  const fold = () => {
    contents.open = wide.matches;
  };

  fold();
  wide.addEventListener("change", fold);
  contents.addEventListener("click", (event) => {
    if (event.target.localName === "a" && !wide.matches) contents.open = false;
  });
  addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(follow);
    waiting = true;
  });
  follow();
})();

// --- tables: ascending, descending, as they were; undefined values last -----------------------------------

(() => {
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
})();

reachScrolled(document.querySelectorAll(".card pre"));
