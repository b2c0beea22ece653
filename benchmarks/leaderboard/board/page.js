// Sorts a table by the column whose header is pressed; cells without a value stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const text = head.classList.contains("text");
      const up = text || /^(rank|fit)/.test(head.textContent); // less is better
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : !up;
      const value = ({ cells }) => cells[column].dataset.sort ?? (text ? cells[column].textContent : undefined);
      const order = (a, b) => (text ? a.localeCompare(b, "en", { numeric: true }) : a - b) * (down ? -1 : 1);
      const rows = [...body.rows].sort((one, other) => {
        const a = value(one), b = value(other);
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
        return order(a, b);
      });
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}

// Shows only the tables of the chosen family of tasks and the methods of the chosen budget class; what has none stays.
const form = document.querySelector("form");
form.hidden = false;
form.addEventListener("change", () => {
  for (const { name, value } of form.elements) {
    for (const part of document.querySelectorAll(`[data-${name}]`)) {
      part.toggleAttribute("hidden", value !== "" && !part.dataset[name].split("|").includes(value));
    }
  }
});
