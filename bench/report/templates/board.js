// Sorting (by tablesort) and filtering of the tables on the page. Without it they are plain tables.
(function () {
  "use strict";

  // --- sorting: a button in each heading; what is undefined stays last, whichever way ---

  Tablesort.extend("value", function () { return false; }, function (a, b) { return Number(b) - Number(a); });
  Tablesort.extend("words", function () { return false; }, function (a, b) {
    return b.localeCompare(a, "en", { sensitivity: "base", numeric: true });
  });

  function undefinedLast(heading) {
    var falling = heading.getAttribute("aria-sort") === "ascending"; // what it will be after this click
    heading.closest("table").querySelectorAll("tbody tr[data-find]").forEach(function (row) {
      var cell = row.cells[heading.cellIndex];
      if (cell.dataset.undefined) cell.dataset.sort = falling ? "-1e300" : "1e300";
    });
  }

  function button(heading) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = heading.textContent;
    made.addEventListener("click", function () { undefinedLast(heading); }); // before tablesort's, on the heading
    made.addEventListener("keydown", function (event) { event.stopPropagation(); }); // a button's own keys do
    heading.replaceChildren(made);
    heading.removeAttribute("tabindex");
  }

  document.querySelectorAll("table").forEach(function (table) {
    table.querySelectorAll("tbody [data-sort]").forEach(function (cell) {
      if (Number.isNaN(Number(cell.dataset.sort)) || cell.dataset.sort === "") cell.dataset.undefined = "yes";
    });
    new Tablesort(table);
    table.querySelectorAll("thead th").forEach(button);
  });

  // --- filtering: tables, plots and their keys together ---

  var form = document.getElementById("filter"), wanted = document.getElementById("words-wanted");
  var count = document.getElementById("count"), lines = Array.from(document.querySelectorAll("[data-find]"));

  function holdsLines(section) { return section.querySelector("tr[data-find]"); }

  function hide(element, hidden) { element.toggleAttribute("hidden", hidden); } // works for SVG too

  function filter() {
    var words = wanted.value.toLowerCase().split(/\s+/);
    var kinds = Array.from(form.querySelectorAll("[name=kind]:checked"), function (box) { return box.value; });
    lines.forEach(function (line) {
      var found = words.every(function (word) { return line.dataset.find.includes(word); });
      hide(line, !found || !kinds.includes(line.dataset.kind));
    });
    document.querySelectorAll("section tbody, section .scroll, section .plot").forEach(function (part) {
      hide(part, !part.querySelector("tr[data-find]:not([hidden]), .point:not([hidden])"));
    });
    Array.from(document.querySelectorAll("main > section")).filter(holdsLines).forEach(function (section) {
      hide(section, !section.querySelector("tr[data-find]:not([hidden])"));
    });
    var all = document.querySelectorAll("tbody tr[id]").length;
    var shown = document.querySelectorAll("tbody tr[id]:not([hidden])").length;
    count.textContent = shown === all ? "All " + all + " lines shown." : shown + " of " + all + " lines shown.";
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.hidden = false;
  filter();
})();
