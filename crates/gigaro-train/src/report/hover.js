// Reads values off the charts: a line follows the pointer, a note names the nearest point of each curve.
for (const plot of document.querySelectorAll(".plot")) {
  const { x: xName, range, series } = JSON.parse(plot.dataset.chart);
  const [left, right, xLow, xHigh, top, bottom] = range;
  const cursor = plot.appendChild(document.createElement("div"));
  const tip = plot.appendChild(document.createElement("div"));
  cursor.className = "cursor";
  tip.className = "tip";
  const hide = () => { cursor.hidden = tip.hidden = true; };
  const digits = (v) => Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : String(+v.toPrecision(4));
  const nearest = (points, x) => points.reduce((best, p) => (Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best));
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const scale = box.width / plot.querySelector("svg").viewBox.baseVal.width;
    const at = Math.min(Math.max((event.clientX - box.left) / scale, left), right);
    const x = xLow + ((at - left) / (right - left)) * (xHigh - xLow);
    const found = series.filter((s) => s.points.length).map((s) => [s.name, nearest(s.points, x)]);
    const lines = [`${xName} ${digits(Math.round(found[0][1][0]))}`, ...found.map(([name, p]) => `${name} ${digits(p[1])}`)];
    tip.replaceChildren(...lines.flatMap((text, i) => (i ? [document.createElement("br"), text] : [text])));
    const lineAt = (left + ((found[0][1][0] - xLow) / (xHigh - xLow)) * (right - left)) * scale;
    cursor.hidden = tip.hidden = false;
    cursor.style.cssText = `left:${lineAt}px;top:${top * scale}px;height:${(bottom - top) * scale}px`;
    const side = lineAt + tip.offsetWidth + 20 > box.width ? lineAt - tip.offsetWidth - 10 : lineAt + 10;
    tip.style.cssText = `left:${Math.max(side, 0)}px;top:${top * scale + 6}px`;
  };
  hide();
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
