// Tables: headings sort, long tables have a filter and are folded.
const FOLDED = 25;
const FILTERED = 10;
const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function setUpTable(frame) {
  const table = frame.querySelector("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const state = { words: [], all: rows.length <= FOLDED + 5, column: -1, up: true };
  const more = element("button", { type: "button", class: "plain-button", onclick: unfold });
  const count = element("output", {});

  function show() {
    const hits = rows.filter((row) => state.words.every((word) => textOf(row).includes(word)));
    const shown = state.all || state.words.length ? hits : hits.slice(0, FOLDED);
    const visible = new Set(shown);
    for (const row of rows) {
      row.hidden = !visible.has(row);
    }
    more.hidden = state.all || state.words.length > 0;
    more.textContent = `Show all ${countText(rows.length, table.dataset.noun)}`;
    count.textContent = state.words.length ? `${hits.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "";
  }

  function unfold() {
    state.all = true;
    show();
  }

  function sort(column, heading) {
    const numeric = heading.classList.contains("n") || rows.some((row) => row.cells[column].dataset.v !== undefined);
    const again = state.column === column || heading.hasAttribute("aria-sort");
    state.up = again ? heading.getAttribute("aria-sort") !== "ascending" : !numeric || column === 0;
    state.column = column;
    for (const other of table.tHead.rows[0].cells) {
      other.removeAttribute("aria-sort");
    }
    heading.setAttribute("aria-sort", state.up ? "ascending" : "descending");
    const sign = state.up ? 1 : -1;
    rows.sort((one, other) => sign * compare(one.cells[column], other.cells[column]));
    body.append(...rows);
    show();
  }

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const title = heading.textContent;
    if (title && rows.length > 1) {
      heading.replaceChildren(element("button", { type: "button", onclick: () => sort(column, heading) }, title));
    }
  });
  if (rows.length > FILTERED) {
    const input = element("input", {
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        state.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        show();
      },
    });
    frame.prepend(element("div", { class: "tools" }, element("label", {}, "Filter", input), count));
  }
  frame.append(more);
  show();
}

const TEXTS = new WeakMap();

function textOf(row) {
  if (!TEXTS.has(row)) {
    TEXTS.set(row, [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase());
  }
  return TEXTS.get(row);
}

function compare(one, other) {
  if (one.dataset.v !== undefined && other.dataset.v !== undefined) {
    return Number(one.dataset.v) - Number(other.dataset.v);
  }
  return COLLATOR.compare(one.textContent, other.textContent);
}
