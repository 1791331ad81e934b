// Sorts the tables of a comparison by the heading that is pressed. The page says the same without it.
"use strict";
{
  const tables = [...document.querySelectorAll("table.sortable")];
  const spoken = document.getElementById("sorted");
  const words = new Intl.Collator("en", { numeric: true });

  // A cell without a value is not known: it stays last whichever way the others are sorted.
  const compare = (one, other, isNumber, falling) => {
    if (one === undefined || other === undefined) return (one === undefined) - (other === undefined);
    const order = isNumber ? Number(one) - Number(other) : words.compare(one, other);
    return falling ? -order : order;
  };

  // All tables keep the same order, so that a disease stands in the same row of each.
  const sort = (heading) => {
    const column = Number(heading.dataset.column);
    const isNumber = heading.dataset.kind === "number";
    const falling = heading.getAttribute("aria-sort") === "ascending";
    const valueOf = (row) => row.cells[column].dataset.value;
    const rows = [...heading.closest("table").tBodies[0].rows];
    rows.sort((one, other) => compare(valueOf(one), valueOf(other), isNumber, falling));
    const order = rows.map((row) => row.dataset.disease);
    for (const table of tables) {
      const body = table.tBodies[0];
      const byDisease = new Map([...body.rows].map((row) => [row.dataset.disease, row]));
      body.append(...order.map((disease) => byDisease.get(disease)));
      for (const sorted of table.querySelectorAll("[aria-sort]")) sorted.removeAttribute("aria-sort");
    }
    const way = falling ? "descending" : "ascending";
    heading.setAttribute("aria-sort", way);
    spoken.textContent = `Sorted by ${heading.textContent.trim()}, ${way}`;
  };

  for (const table of tables) {
    for (const button of table.querySelectorAll("thead button")) {
      button.addEventListener("click", () => sort(button.closest("th")));
    }
  }
  document.documentElement.classList.add("scripted");
}
