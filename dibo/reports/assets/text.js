// Texts for people, as the rest of the page has them, and elements. Texts of the image only ever become text nodes.
const UNITS = ["KiB", "MiB", "GiB", "TiB"];

function sizeText(size) {
  if (size < 1024) {
    return `${size} B`;
  }
  let value = size;
  let unit = -1;
  do {
    value /= 1024;
    unit += 1;
  } while (value >= 1024 && unit < UNITS.length - 1);
  return `${value < 1000 ? Number(value.toPrecision(3)) : Math.round(value)} ${UNITS[unit]}`;
}

function percentText(part, whole) {
  if (!whole || !part) {
    return "0 %";
  }
  const value = (100 * part) / whole;
  return value < 0.1 ? "< 0.1 %" : `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

function countText(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) {
      made.addEventListener(key.slice(2), value);
    } else if (value !== undefined && value !== null && value !== false) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function dataOf(id) {
  return JSON.parse(document.getElementById(id).textContent);
}
