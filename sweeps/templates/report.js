// Sort the rows of each block by the column clicked; again: the other way; a third time: as it was.
document.querySelectorAll("table.sortable").forEach(table => {
  const bodies = [...table.tBodies].map(body => ({ body, rows: [...body.rows] }));
  table.querySelectorAll("thead th").forEach((head, column) => head.addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    const next = before === null ? "descending" : before === "descending" ? "ascending" : null;
    table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
    if (next) head.setAttribute("aria-sort", next);
    const value = row => {
      const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return next === "ascending" ? order : -order;
    };
    bodies.forEach(({ body, rows }) => {
      const heads = rows.filter(row => row.className === "block");
      const rest = rows.filter(row => row.className !== "block");
      body.append(...heads, ...(next ? [...rest].sort(compare) : rest));
    });
  }));
});
