// Interactive plots and sortable tables. Without JavaScript, and in print, the page shows pictures and plain tables.

// Source of a library that the page contains in compressed form.
function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const { items, dark } = JSON.parse(document.getElementById("plots").textContent);
const scheme = matchMedia("(prefers-color-scheme: dark)");
const plots = [];
let mouse = false;

// Colors of axes and legends come from report.css; colors of curves are properties of Bokeh's models.
function recolor(plot) {
  const swap = scheme.matches ? dark : Object.fromEntries(Object.entries(dark).map(([light, on]) => [on, light]));
  for (const { glyph } of plot.model.renderers) {
    for (const property of ["line_color", "fill_color"]) {
      const color = glyph[property]?.value ?? glyph[property];
      if (color in swap) glyph[property] = swap[color];
    }
  }
  plot.request_repaint();
}

// With a mouse, dragging zooms and the tools appear at the pointer. On a touch screen, dragging scrolls the page.
function useMouse({ model: { toolbar } }) {
  toolbar.active_drag = toolbar.tools.find((tool) => tool.type === "BoxZoomTool");
  toolbar.autohide = true;
}

async function draw(item) {
  try {
    const plot = (await Bokeh.embed.embed_item(item)).roots[0];
    plots.push(plot);
    recolor(plot);
    if (mouse) useMouse(plot);
  } catch (error) {
    const panels = document.getElementById(item.target_id).closest(".panels");
    panels.hidden = true;
    panels.closest("figure").classList.remove("interactive");
    console.error(error);
  }
}

const script = document.createElement("script"); // Bokeh is not an ES module and cannot be imported
script.textContent = await unpacked("bokeh");
document.head.append(script);

// A panel is drawn when it is about to become visible: drawing all of them at once would block a phone.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    draw(items.find((item) => item.target_id === target.id));
  }
}, { rootMargin: "100%" });
for (const panels of document.querySelectorAll(".panels")) {
  panels.hidden = false;
  panels.closest("figure").classList.add("interactive");
  panels.querySelectorAll(".plot").forEach((plot) => near.observe(plot));
}
scheme.addEventListener("change", () => plots.forEach(recolor));
document.addEventListener("pointerover", function onPointer({ pointerType }) {
  if (pointerType !== "mouse") return;
  document.removeEventListener("pointerover", onPointer);
  mouse = true;
  plots.forEach(useMouse);
});

const source = new Blob([await unpacked("datatables")], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(source));
for (const table of document.querySelectorAll("table.sortable")) {
  new DataTable(table, { paging: false, info: false, searching: false, autoWidth: false, order: [] });
}
document.documentElement.classList.add("ready");
