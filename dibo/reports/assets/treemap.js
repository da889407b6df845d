// The map of the space: what is divided is chosen above it, a click or Enter opens a part, Escape leaves it.
const VIEWS = { directories: "Directories", packages: "Packages", flavours: "Flavours", layers: "Layers" };
const HEADING = 20;
const LEAST = { width: 64, height: 44 };
const LEVELS = 4;
const PLAIN = -1;
const DOMINANT = 0.7;
const [NAME, SIZE, FILES, PARTS] = [0, 1, 2, 3];

function setUpTreemap(frame, views) {
  const names = Object.keys(VIEWS).filter((name) => views[name]);
  const state = { view: names[0], path: [] };
  const map = element("div", { class: "map", role: "group", "aria-label": "Map of the space", onkeydown: onKey });
  const crumbs = element("ol", { class: "crumbs" });
  const parts = element("div", { class: "parts", tabindex: "0", role: "region", "aria-label": "Parts" });
  const line = element("p", { id: "map-line" });
  frame.append(
    element("fieldset", {}, element("legend", {}, "Divided by"), ...names.map(choice)),
    element("nav", { "aria-label": "Place in the map" }, crumbs),
    element("div", { class: "space" }, map, parts),
    line,
  );

  function choice(name) {
    const radio = element("input", { type: "radio", name: "view", checked: name === state.view });
    radio.addEventListener("change", () => {
      state.view = name;
      go([]);
    });
    return element("label", {}, radio, VIEWS[name]);
  }

  function nodeAt(path) {
    return path.reduce((node, place) => node[PARTS][place], views[state.view]);
  }

  function go(path, focus) {
    state.path = path;
    render();
    if (focus) {
      const first = map.querySelector("[tabindex='0']");
      (first || parts).focus();
    }
  }

  function render() {
    drawCrumbs();
    drawParts();
    drawMap();
    describe(nodeAt(state.path), state.path);
  }

  function drawCrumbs() {
    const nodes = [views[state.view], ...state.path.map((_, depth) => nodeAt(state.path.slice(0, depth + 1)))];
    crumbs.replaceChildren(
      ...nodes.map((node, depth) => {
        const name = depth ? node[NAME] : "All";
        if (depth === state.path.length) {
          return element("li", {}, element("span", { "aria-current": "true" }, name));
        }
        const go_up = () => go(state.path.slice(0, depth), true);
        return element("li", {}, element("button", { type: "button", onclick: go_up }, name));
      }),
    );
    if (state.view === "directories" && state.path.length) {
      const directory = nodes.slice(1).map((node) => node[NAME]);
      const list = () => document.dispatchEvent(new CustomEvent("list-files", { detail: directory }));
      crumbs.append(element("li", {}, element("button", { type: "button", onclick: list }, "List files")));
    }
  }

  function drawParts() {
    const node = nodeAt(state.path);
    const rows = (node[PARTS] || []).map((part, place) => {
      const plain = part[PARTS] && part[SIZE] > DOMINANT * node[SIZE];
      const swatch = element("span", { class: `swatch ${plain ? "plain-cell" : `k${place % 8}`}`, "aria-hidden": "true" });
      const path = [...state.path, place];
      const name = part[PARTS]
        ? element("button", { type: "button", onclick: () => go(path, true) }, part[NAME])
        : part[NAME];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, swatch, name),
        element("td", { class: "n" }, sizeText(part[SIZE])),
        element("td", { class: "n" }, percentText(part[SIZE], node[SIZE])),
      );
    });
    const titles = ["Part", "Size", "Share"];
    const head = titles.map((title, place) => element("th", { scope: "col", class: place ? "n" : null }, title));
    parts.replaceChildren(
      element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    );
    parts.scrollTop = 0;
  }

  function drawMap() {
    const width = map.clientWidth;
    const height = map.clientHeight;
    const cells = [];
    if (width && height) {
      divide(nodeAt(state.path), state.path, [0, 0, width, height], 0, PLAIN, cells);
    }
    map.replaceChildren(...cells);
    const first = cells[0];
    if (first) {
      first.setAttribute("tabindex", "0");
    }
  }

  function divide(node, path, box, depth, colour, cells) {
    const list = node[PARTS] || [];
    const boxes = squarify(list.map((part) => part[SIZE]), ...box);
    list.forEach((part, place) => {
      const [x, y, width, height] = boxes[place];
      if (width < 3 || height < 3) {
        return;
      }
      const opens = part[PARTS] && depth + 1 < LEVELS && width > LEAST.width && height > LEAST.height;
      const fills = opens && part[SIZE] > DOMINANT * node[SIZE];
      const hue = colour !== PLAIN ? colour : fills ? PLAIN : place % 8;
      const below = [...path, place];
      cells.push(cell(part, below, boxes[place], hue, opens));
      if (opens) {
        divide(part, below, [x + 3, y + HEADING, width - 6, height - HEADING - 3], depth + 1, hue, cells);
      }
    });
  }

  function cell(part, path, [x, y, width, height], hue, isGroup) {
    const whole = nodeAt(state.path)[SIZE];
    const label = `${part[NAME]}, ${sizeText(part[SIZE])}, ${percentText(part[SIZE], whole)}`;
    const target = part[PARTS] ? path : path.slice(0, -1);
    const opens = target.length > state.path.length;
    const made = element("button", {
      type: "button",
      class: `cell ${hue === PLAIN ? "plain-cell" : `k${hue}`}${isGroup ? " group" : ""}${opens ? " open" : ""}`,
      tabindex: "-1",
      "aria-label": opens ? `${label}, opens` : label,
      onclick: () => (opens ? go(target, true) : undefined),
      onfocus: () => describe(part, path),
      onmouseenter: () => describe(part, path),
    });
    made.style.left = `${x}px`;
    made.style.top = `${y}px`;
    made.style.width = `${width}px`;
    made.style.height = `${height}px`;
    if (width > 34 && height > 16) {
      made.append(element("b", {}, isGroup ? `${part[NAME]} \u00b7 ${sizeText(part[SIZE])}` : part[NAME]));
    }
    if (!isGroup && width > 44 && height > 36) {
      made.append(element("small", {}, sizeText(part[SIZE])));
    }
    return made;
  }

  function describe(part, path) {
    const names = path.map((_, depth) => nodeAt(path.slice(0, depth + 1))[NAME]);
    const where = names.length ? names.join(state.view === "directories" ? "/" : " \u203a ") : "All";
    const share = percentText(part[SIZE], views[state.view][SIZE]);
    line.textContent = `${where}: ${sizeText(part[SIZE])}, ${share} of all, ${countText(part[FILES], "file")}`;
  }

  function onKey(event) {
    const cells = [...map.children];
    const at = cells.indexOf(document.activeElement);
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: cells.length - 1 };
    if ((event.key === "Escape" || event.key === "Backspace") && state.path.length) {
      go(state.path.slice(0, -1), true);
    } else if (event.key in steps && cells.length) {
      const next = cells[Math.max(0, Math.min(cells.length - 1, steps[event.key]))];
      cells.forEach((other) => other.setAttribute("tabindex", other === next ? "0" : "-1"));
      next.focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  frame.hidden = false;
  render();
  let drawn = map.clientWidth;
  new ResizeObserver(() => {
    if (map.clientWidth !== drawn) {
      drawn = map.clientWidth;
      drawMap();
    }
  }).observe(map);
  window.addEventListener("beforeprint", drawMap);
  window.addEventListener("afterprint", drawMap);
}
