"use strict";
// Sorting and filtering; without it the page shows the same, in the order of the average.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column, kind) => {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent.trim();
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  };
  const sort = (head, column) => {
    const kind = head.dataset.sort;
    const before = head.getAttribute("aria-sort");
    const up = before ? before === "descending" : kind === "text";
    const rows = [...body.rows].map((row) => [value(row, column, kind), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // the missing come last
      const order = kind === "text" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      return up ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    document.getElementById("told").textContent =
      `sorted by ${head.textContent.trim()}, ${up ? "ascending" : "descending"}`;
  };
  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  if (table.dataset.filter) {
    const label = document.createElement("label");
    label.className = "filter";
    label.textContent = table.dataset.filter;
    const input = document.createElement("input");
    input.type = "search";
    label.append(input);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of body.rows) {
        const text = `${row.cells[0].textContent} ${row.cells[row.cells.length - 1].textContent}`;
        row.hidden = !text.toLowerCase().includes(wanted);
      }
    });
  }
}
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", open);
open();
