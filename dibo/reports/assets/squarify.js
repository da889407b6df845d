"use strict";
// A squarified treemap (Bruls, Huizing, van Wijk 2000): sizes, the largest first, become boxes [x, y, width, height] in
// the same order that fill the given box, with areas in the proportion of the sizes and sides as alike as can be.
function squarify(sizes, x, y, width, height) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (!(total > 0)) {
    return sizes.map(() => [x, y, 0, 0]);
  }
  const scale = (width * height) / total;
  const boxes = [];
  let start = 0;
  while (start < sizes.length) {
    const side = Math.min(width, height);
    let end = start;
    let area = 0;
    let worst = Infinity;
    while (end < sizes.length) {
      const next = area + sizes[end] * scale;
      const ratio = worstRatio(sizes[start] * scale, sizes[end] * scale, next, side);
      if (end > start && ratio > worst) {
        break;
      }
      worst = ratio;
      area = next;
      end += 1;
    }
    const across = side > 0 ? Math.min(area / side, Math.max(width, height)) : 0;
    let along = 0;
    for (let place = start; place < end; place += 1) {
      const length = area > 0 ? (side * sizes[place] * scale) / area : 0;
      boxes.push(width >= height ? [x, y + along, across, length] : [x + along, y, length, across]);
      along += length;
    }
    if (width >= height) {
      x += across;
      width = Math.max(0, width - across);
    } else {
      y += across;
      height = Math.max(0, height - across);
    }
    start = end;
  }
  return boxes;
}

// How far the worst box of a row is from a square: the largest and the smallest area in it, the area of all, its side.
function worstRatio(largest, smallest, area, side) {
  const square = area * area;
  return Math.max((side * side * largest) / square, square / (side * side * smallest));
}
