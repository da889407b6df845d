for (const frame of document.querySelectorAll(".table")) {
  setUpTable(frame);
}
setUpTreemap(document.getElementById("treemap"), dataOf("size-views"));
document.getElementById("views").hidden = true;
(async () => {
  const without = document.getElementById("files-without");
  const index = dataOf("file-index");
  if (!index || typeof DecompressionStream === "undefined") {
    without.textContent = index ? "This browser is too old to unpack the list of files." : "The list of files is too long for a page.";
    return;
  }
  await setUpFiles(document.getElementById("file-browser"), index);
  without.hidden = true;
})().catch((error) => {
  document.getElementById("files-without").textContent = `The list of files cannot be read: ${error.message}`;
});
document.documentElement.dataset.ready = "true";
