// Sort the rows of each block by the column clicked; again: the other way; a third time: as it was.
document.querySelectorAll("table.sortable").forEach(table => {
  const bodies = [...table.tBodies].map(body => ({ body, rows: [...body.rows] }));
  const isHead = row => row.classList.contains("block");
  const sortBy = (head, column) => {
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
      const rest = rows.filter(row => !isHead(row));
      body.append(...rows.filter(isHead), ...(next ? [...rest].sort(compare) : rest));
    });
  };
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sortBy(head, column));
    head.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sortBy(head, column); }
    });
  });

  // Keep the rows in which, with the heading of their block, every word typed occurs.
  if (table.querySelectorAll("tbody tr:not(.block)").length < 6) return;
  const filter = document.createElement("input");
  filter.type = "search"; filter.className = "filter"; filter.placeholder = "Filter rows";
  filter.setAttribute("aria-label", "Filter rows");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    bodies.forEach(({ rows }) => {
      const heads = rows.filter(isHead), rest = rows.filter(row => !isHead(row));
      const title = heads.map(row => row.textContent).join(" ").toLowerCase();
      rest.forEach(row => {
        const text = title + " " + row.textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
      });
      heads.forEach(row => { row.hidden = rest.every(other => other.hidden); });
    });
  });
  table.closest(".scroll").before(filter);
});

// What a point of a figure is: beside the pointer, or the finger. Without this script, the browser's own hint.
const tip = document.body.appendChild(document.createElement("div"));
tip.id = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
document.querySelectorAll(".hover").forEach(point => {
  const title = point.querySelector("title");
  point.dataset.tip = title.textContent;
  title.remove();
});
document.addEventListener("pointerover", event => {
  const point = event.target.closest ? event.target.closest(".hover") : null;
  tip.hidden = !point;
  if (!point) return;
  tip.textContent = point.dataset.tip;
  const at = point.getBoundingClientRect(), width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = Math.max(4, Math.min(at.left + at.width / 2 - width / 2, innerWidth - width - 4)) + "px";
  tip.style.top = (at.top - height - 6 > 0 ? at.top - height - 6 : at.bottom + 6) + "px";
});
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// Paper cannot unfold.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
