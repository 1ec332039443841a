"use strict";
// What every page can do. All of it is there without this: only copying, filtering and unfolding by itself are not.
(() => {
  const say = (button, text) => {
    const before = button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 2000);
  };
  const selected = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const block of document.querySelectorAll("pre[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${block.dataset.copy}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.textContent);
        say(button, "Copied");
      } catch {
        // not every browser lets a page from disk do that
        selected(block);
        say(button, document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C");
      }
    });
    block.before(button);
  }
  const unfold = () => {
    const target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
  for (const filters of document.querySelectorAll(".filters[data-rows]")) {
    const rows = [...document.getElementById(filters.dataset.rows).tBodies[0].rows];
    const words = filters.querySelector("input[type=search]");
    const choices = [...filters.querySelectorAll("select")];
    const shown = filters.querySelector("[aria-live]");
    const apply = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word))
          || choices.some((one) => one.value && one.value !== row.dataset[one.name]);
        count += row.hidden ? 0 : 1;
      }
      shown.textContent = `${count} of ${rows.length}`;
    };
    filters.addEventListener("input", apply);
    filters.hidden = false;
    apply();
  }
})();
