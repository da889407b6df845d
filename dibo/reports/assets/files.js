// The browser of files: what is in a directory, or all paths that have some words, with layer, package and attributes.
const MOST_SHOWN = 300;

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

// Paths, sizes with all below, and the place of the directory of each: -1 for those at the top.
function treeOf(index) {
  const count = index.names.length;
  const paths = new Array(count);
  const above = new Int32Array(count);
  const totals = Float64Array.from(index.sizes);
  const trail = [];
  for (let place = 0; place < count; place += 1) {
    const depth = index.depths[place];
    trail.length = Math.min(trail.length, depth);
    above[place] = trail.length ? trail[trail.length - 1] : -1;
    paths[place] = `${above[place] < 0 ? "" : paths[above[place]]}/${index.names[place]}`;
    trail.push(place);
  }
  for (let place = count - 1; place >= 0; place -= 1) {
    if (above[place] >= 0) {
      totals[above[place]] += totals[place];
    }
  }
  return { paths, above, totals };
}

async function setUpFiles(frame, text) {
  const index = await unpack(text);
  const { paths, above, totals } = treeOf(index);
  const lower = paths.map((path) => path.toLowerCase());
  const state = { directory: -1, words: [] };
  const input = element("input", {
    type: "search",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "bin/su nginx",
    oninput: () => {
      state.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      show();
    },
  });
  const count = element("output", {});
  const crumbs = element("ol", { class: "crumbs" });
  const body = element("tbody", {});
  const titles = ["Name", "Size", "Brought by", "Package", "Attributes"];
  const hasLayers = index.layers.some((layer) => layer >= 0);
  const columns = titles.map((title, place) =>
    element("th", { scope: "col", class: place === 1 ? "n" : place === 4 ? "minor" : null, hidden: place === 2 && !hasLayers }, title),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...columns)), body);
  frame.append(
    element("div", { class: "tools" }, element("label", {}, "Find paths with", input), count),
    element("nav", { "aria-label": "Place in the files" }, crumbs),
    element("div", { class: "scroll", role: "region", "aria-label": "Files", tabindex: "0" }, table),
  );

  function isDirectory(place) {
    return index.attribute[index.attributes[place]].startsWith("d");
  }

  function open(directory, focus) {
    state.directory = directory;
    state.words = [];
    input.value = "";
    show();
    if (focus) {
      (body.querySelector("button") || input).focus({ preventScroll: true });
    }
  }

  function show() {
    const hits = [];
    for (let place = 0; place < paths.length; place += 1) {
      const fits = state.words.length
        ? state.words.every((word) => lower[place].includes(word))
        : above[place] === state.directory;
      if (fits) {
        hits.push(place);
      }
    }
    hits.sort((one, other) => totals[other] - totals[one] || one - other);
    body.replaceChildren(...hits.slice(0, MOST_SHOWN).map(row));
    const shown = hits.length > MOST_SHOWN ? `, the ${MOST_SHOWN} largest are shown` : "";
    count.textContent = `${countText(hits.length, "name")}${shown}`;
    drawCrumbs();
  }

  function drawCrumbs() {
    const trail = [];
    for (let place = state.directory; place >= 0; place = above[place]) {
      trail.unshift(place);
    }
    const items = [-1, ...trail].map((place) => {
      const name = place < 0 ? "/" : index.names[place];
      return place === state.directory && !state.words.length
        ? element("li", {}, element("span", { "aria-current": "true" }, name))
        : element("li", {}, element("button", { type: "button", onclick: () => open(place, true) }, name));
    });
    crumbs.replaceChildren(...items);
  }

  function row(place) {
    const name = state.words.length ? paths[place] : index.names[place] + (isDirectory(place) ? "/" : "");
    const shown = isDirectory(place)
      ? element("button", { type: "button", onclick: () => open(place, true) }, name)
      : name;
    const cells = [
      element("td", { class: "n" }, sizeText(totals[place])),
      element("td", { hidden: !hasLayers }, index.layer[index.layers[place]] || ""),
      element("td", {}, index.package[index.packages[place]] || ""),
      element("td", { class: "minor" }, element("code", {}, index.attribute[index.attributes[place]])),
    ];
    return element("tr", {}, element("th", { scope: "row" }, shown), ...cells);
  }

  document.addEventListener("list-files", (event) => {
    const path = `/${event.detail.join("/")}`;
    const place = paths.indexOf(path);
    open(place, false);
    frame.scrollIntoView();
    input.focus({ preventScroll: true });
  });
  frame.hidden = false;
  show();
}
