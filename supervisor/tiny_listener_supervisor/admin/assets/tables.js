// Tables whose rows stay in place while their texts change. A text is never interpreted as HTML (textContent).

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

class Table {
  // columns: [{ name, title, className }]
  constructor(table, columns) {
    this.columns = columns;
    this.body = table.tBodies[0];
    this.rows = new Map();
    for (const { name, title, className } of columns) {
      const head = document.createElement("th");
      head.scope = "col";
      head.setAttribute("role", "columnheader");
      head.className = className || "";
      head.textContent = name;
      if (title) head.title = title;
      table.tHead.rows[0].append(head);
    }
  }

  // entries: [{ key, cells: [{ text, className, state }] }], in their order
  show(entries) {
    const keys = new Set(entries.map(({ key }) => key));
    for (const [key, row] of this.rows) {
      if (!keys.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    entries.forEach(({ key, cells }, place) => {
      const row = this.rows.get(key) || this.add(key);
      if (this.body.rows[place] !== row) this.body.insertBefore(row, this.body.rows[place] || null);
      cells.forEach(({ text, className, state }, i) => {
        const cell = row.cells[i];
        setText(cell, text);
        const classes = [this.columns[i].className, className].filter(Boolean).join(" ");
        if (cell.className !== classes) cell.className = classes;
        if (state !== undefined && cell.dataset.state !== state) cell.dataset.state = state;
      });
    });
  }

  add(key) {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    for (const { name } of this.columns) {
      const cell = document.createElement("td");
      cell.setAttribute("role", "cell");
      cell.dataset.label = name;
      row.append(cell);
    }
    this.rows.set(key, row);
    return row;
  }
}
