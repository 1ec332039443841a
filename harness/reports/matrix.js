(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const detail = document.getElementById("detail");
const words = document.getElementById("words");
const boxes = [...document.querySelectorAll(".filters input[type=checkbox]")];
const rows = [...document.querySelectorAll("#matrix tbody tr")].map(row => ({row, text: row.firstElementChild.textContent.toLowerCase(),
  colours: new Set([...row.querySelectorAll("button.cell")].map(cell => cell.classList[1]))}));
function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const colours = boxes.filter(box => box.checked).map(box => box.value);
  let shown = 0;
  for (const one of rows) {
    one.row.hidden = !(wanted.every(word => one.text.includes(word)) && colours.some(colour => one.colours.has(colour)));
    shown += one.row.hidden ? 0 : 1;
  }
  document.getElementById("shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
}
words.addEventListener("input", filter);
boxes.forEach(box => box.addEventListener("change", filter));
function put(parent, name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}
let open = null;
function close() {
  if (open) { open.setAttribute("aria-expanded", "false"); open.focus({preventScroll: true}); }
  open = null;
  detail.hidden = true;
}
function unfold(button) {
  if (open === button) { close(); return; }
  if (open) open.setAttribute("aria-expanded", "false");
  open = button;
  button.setAttribute("aria-expanded", "true");
  const cell = data.cells[button.dataset.cell];
  detail.replaceChildren();
  put(detail, "h3", cell.id || "the scenario itself");
  const away = put(detail, "button", "✕", "close");
  away.setAttribute("aria-label", "Close");
  away.addEventListener("click", close);
  put(detail, "p", `${cell.word}, driver ${cell.driver}, ${cell.seconds} s, exit ${cell.exit}`, "dim");
  if (cell.because) put(detail, "p", `added because: ${cell.because}`);
  for (const reason of cell.reasons) put(detail, "p", data.texts[reason]);
  for (const finding of cell.findings) {
    const head = put(detail, "p");
    put(head, "b", data.texts[finding.head]);
    put(detail, "p", data.texts[finding.sentence]);
    if (finding.remedy !== null) put(detail, "p", "mend  " + data.texts[finding.remedy]);
    if (finding.evidence.length) put(detail, "pre", finding.evidence.map(line => data.texts[line]).join("\n"));
  }
  if (!cell.findings.length && !cell.reasons.length) put(detail, "p", "Nothing changed for anyone who logs in.");
  if (cell.record) put(detail, "p", `rehearse judge ${cell.record}`, "dim");
  detail.hidden = false;
  detail.focus({preventScroll: true});
}
document.getElementById("matrix").addEventListener("click", event => {
  const button = event.target.closest("button.cell");
  if (button) unfold(button);
});
document.addEventListener("keydown", event => { if (event.key === "Escape") close(); });
})();
