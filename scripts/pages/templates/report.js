// Without JavaScript, and in print, the page shows pictures and plain tables: all of this only adds to it.

// The source of a library that the page holds compressed.
function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const { items, dark } = JSON.parse(document.getElementById("curves").textContent);
const scheme = matchMedia("(prefers-color-scheme: dark)");
const plots = [];

// Axes and legends take their colours from report.css; those of the curves are kept in Bokeh's models.
function recolour() {
  const swap = scheme.matches ? dark : Object.fromEntries(Object.entries(dark).map(([light, on]) => [on, light]));
  for (const plot of plots) {
    for (const { glyph } of plot.model.renderers) {
      for (const property of ["line_color", "fill_color"]) {
        const color = glyph[property]?.value ?? glyph[property];
        if (color in swap) glyph[property] = swap[color];
      }
    }
    plot.request_repaint();
  }
}

const script = document.createElement("script"); // Bokeh is none of the modules that one can import
script.textContent = await unpacked("bokeh");
document.head.append(script);
for (const figure of document.querySelectorAll("figure:has(.panels)")) {
  const panels = figure.querySelector(".panels");
  const own = items.filter((item) => panels.querySelector(`[id="${item.target_id}"]`));
  try {
    figure.classList.add("interactive");
    panels.hidden = false;
    for (const item of own) {
      const views = await Bokeh.embed.embed_item(item);
      plots.push(views.roots[0]);
    }
  } catch (error) {
    figure.classList.remove("interactive");
    panels.hidden = true;
    console.error(error);
  }
}
recolour();
scheme.addEventListener("change", recolour);

// A mouse zooms by dragging, and finds the tools where it points; a finger that is dragged over a plot moves the page.
document.addEventListener("pointerover", function mouse({ pointerType }) {
  if (pointerType !== "mouse") return;
  document.removeEventListener("pointerover", mouse);
  for (const { model: { toolbar } } of plots) {
    toolbar.active_drag = toolbar.tools.find((tool) => tool.type === "BoxZoomTool");
    toolbar.autohide = true;
  }
});

const source = new Blob([await unpacked("datatables")], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(source));
for (const table of document.querySelectorAll("table.sortable")) {
  new DataTable(table, { paging: false, info: false, searching: false, autoWidth: false, order: [] });
}
document.documentElement.classList.add("ready");
