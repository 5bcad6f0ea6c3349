// Draws every chart of the report from the specs in #charts, in the colours of the reader's scheme,
// and draws them again when the scheme changes. No request leaves the page.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const noLoader = vega.loader();
  noLoader.load = () => Promise.reject(new Error("the report is offline"));
  const views = new Map();

  /** Legends break into as many columns as their longest name leaves room for. */
  function fitLegends(spec, width) {
    const rows = Object.values(spec.datasets).flat();
    for (const part of spec.layer ?? [spec]) {
      const color = part.encoding?.color;
      if (!color?.legend) continue;
      const names = color.legend.values ?? [...new Set(rows.map((row) => row[color.field]).filter((value) => value !== undefined))];
      const longest = Math.max(...names.map((value) => String(value).length));
      color.legend.columns = Math.max(1, Math.min(names.length, Math.floor((width - 50) / (longest * 7 + 26))));
    }
    return spec;
  }

  async function draw(name, scheme) {
    const place = document.querySelector(`[data-chart="${name}"]`);
    const old = views.get(name);
    if (old) old.finalize();
    const drawn = await vegaEmbed(place, fitLegends(charts[name], place.clientWidth), {
      mode: "vega-lite", renderer: "svg", actions: false, config: themes[scheme], loader: noLoader,
      tooltip: {theme: scheme},
    });
    views.set(name, drawn);
    place.dataset.drawn = "yes";
  }

  async function drawAll(scheme) {
    for (const name of Object.keys(charts)) {
      try {
        await draw(name, scheme);
      } catch (error) {
        document.querySelector(`[data-chart="${name}"]`).textContent = "This chart could not be drawn: " + error.message;
        console.error("chart " + name, error);
      }
    }
    document.documentElement.dataset.charts = "drawn";
  }

  let queue = drawAll(dark.matches ? "dark" : "light");
  const again = (scheme) => { queue = queue.then(() => drawAll(scheme)); };
  dark.addEventListener("change", () => again(dark.matches ? "dark" : "light"));
  // Paper is white whatever the screen was.
  window.addEventListener("beforeprint", () => { if (dark.matches) again("light"); });
  window.addEventListener("afterprint", () => { if (dark.matches) again("dark"); });
})();
