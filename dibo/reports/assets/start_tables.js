for (const frame of document.querySelectorAll(".table")) {
  setUpTable(frame);
}
document.documentElement.dataset.ready = "true";
