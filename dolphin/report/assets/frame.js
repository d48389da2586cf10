"use strict";
/* What charts have in common. Charts over time share one zoom; a chart is drawn from scratch when the theme changes. */
const charts = [];
const zoom = { start: 0, end: 100 };
const small = () => innerWidth < 620;
const mouse = matchMedia("(pointer: fine)").matches;

function chart(parent, { height, label, make, timed }) {
  const box = el("div", { class: "chart", role: "img", "aria-label": label, tabindex: timed ? 0 : null, style: { height: height + "px" } });
  parent.append(box);
  charts.push({ box, make, timed, plot: null });
  return box;
}

function drawChart(item) {
  if (!item.plot) {
    item.plot = echarts.init(item.box, null, { renderer: "canvas" });
    if (item.timed) {
      item.plot.on("datazoom", (e) => {
        const z = e.batch ? e.batch[0] : e;
        if (z.start != null) setZoom(z.start, z.end, item);
      });
      item.box.addEventListener("keydown", (e) => keyZoom(e));
    }
  }
  const c = ink(),
    option = item.make(c);
  item.plot.setOption(
    { animation: false, backgroundColor: "transparent", textStyle: { fontFamily: "system-ui, sans-serif", color: c.muted }, ...option },
    true,
  );
}
const drawAll = () => charts.forEach(drawChart);

let waiting = 0;
function setZoom(start, end, from) {
  if (Math.abs(start - zoom.start) < 1e-9 && Math.abs(end - zoom.end) < 1e-9) return;
  zoom.start = Math.max(0, start);
  zoom.end = Math.min(100, end);
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => {
    for (const item of charts)
      if (item.timed && item !== from && item.plot)
        item.plot.dispatchAction({ type: "dataZoom", start: zoom.start, end: zoom.end }, { silent: true });
    showZoom();
  });
}
function showZoom() {
  const whole = zoom.start <= 0 && zoom.end >= 100,
    at = (p) => T0 + ((T1 - T0) * p) / 100;
  document.getElementById("zoom").hidden = whole;
  document.getElementById("zoom-range").textContent = whole ? "" : minute(at(zoom.start)) + " \u2013 " + minute(at(zoom.end)) + " UTC";
}
function keyZoom(e) {
  const width = zoom.end - zoom.start,
    mid = (zoom.start + zoom.end) / 2;
  const move = { ArrowLeft: -0.2, ArrowRight: 0.2 }[e.key],
    scale = { "+": 0.5, "-": 2 }[e.key];
  if (move) {
    const by = Math.max(-zoom.start, Math.min(100 - zoom.end, move * width));
    setZoom(zoom.start + by, zoom.end + by);
  } else if (scale) setZoom(Math.max(0, mid - (width * scale) / 2), Math.min(100, mid + (width * scale) / 2));
  else if (e.key === "Escape") setZoom(0, 100);
  else return;
  e.preventDefault();
}
const zoomTo = (a, b) => setZoom((100 * (a - T0)) / (T1 - T0), (100 * (b - T0)) / (T1 - T0));

/* Frame of a time chart: stacked grids [top, height], one zoom, one crosshair. */
function timeFrame(c, grids, yAxes, right = small() ? 8 : 16, filterMode = "filter") {
  const all = grids.map((_, k) => k),
    left = small() ? 48 : 66;
  const zooms = [];
  if (mouse)
    zooms.push({
      type: "inside",
      xAxisIndex: all,
      filterMode,
      start: zoom.start,
      end: zoom.end,
      zoomOnMouseWheel: "ctrl",
      moveOnMouseWheel: false,
    });
  zooms.push({
    type: "slider",
    xAxisIndex: all,
    filterMode,
    start: zoom.start,
    end: zoom.end,
    bottom: 4,
    height: 20,
    left,
    right,
    borderColor: c.line,
    fillerColor: c.band,
    backgroundColor: "transparent",
    handleSize: "90%",
    showDetail: false,
    brushSelect: true,
    showDataShadow: false,
    moveHandleSize: 0,
    handleStyle: { color: c.card, borderColor: c.muted },
    emphasis: { handleStyle: { borderColor: c.honest } },
  });
  return {
    useUTC: true,
    grid: grids.map(([top, height]) => ({ left, right, top, height })),
    xAxis: all.map((k) => ({
      type: "time",
      gridIndex: k,
      min: T0,
      max: T1,
      axisLine: { lineStyle: { color: c.line } },
      axisTick: { show: false },
      splitLine: { show: false },
      axisLabel: {
        show: k === all.length - 1,
        color: c.muted,
        hideOverlap: true,
        fontSize: 11,
        formatter: {
          year: "{yyyy}",
          month: "{d} {MMM}",
          day: "{d} {MMM}",
          hour: "{HH}:{mm}",
          minute: "{HH}:{mm}",
          second: "{HH}:{mm}:{ss}",
        },
      },
      axisPointer: {
        show: true,
        type: "line",
        lineStyle: { color: c.muted, type: "dotted" },
        label: { show: k === all.length - 1, backgroundColor: c.ink, color: c.card, formatter: (p) => minute(p.value) },
      },
    })),
    yAxis: yAxes.map((axis, k) => ({
      type: "value",
      gridIndex: k,
      scale: true,
      axisLine: { show: false },
      axisTick: { show: false },
      splitLine: { lineStyle: { color: c.grid } },
      splitNumber: 4,
      nameTextStyle: { color: c.muted, align: "left", padding: [0, 0, 0, -left + 14] },
      nameGap: 11,
      ...axis,
      axisLabel: { color: c.muted, fontSize: 11, ...axis.axisLabel },
    })),
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    dataZoom: zooms,
  };
}
const tip = (c, formatter, trigger = "axis") => ({
  trigger,
  confine: true,
  backgroundColor: c.card,
  borderColor: c.line,
  textStyle: { color: c.ink, fontSize: 12.5 },
  formatter,
});
const legend = (c, data, extra) => ({
  top: 0,
  left: small() ? 0 : 56,
  itemWidth: 13,
  itemHeight: 9,
  itemGap: 14,
  textStyle: { color: c.muted, fontSize: 12 },
  inactiveColor: c.line,
  data,
  ...extra,
});
const line = (name, axis, data, color, extra) => ({
  type: "line",
  name,
  xAxisIndex: axis,
  yAxisIndex: axis,
  data,
  showSymbol: false,
  symbol: "circle",
  color,
  lineStyle: { width: 1.6, color },
  connectNulls: false,
  ...extra,
});
const bands = (c) => ({ silent: true, itemStyle: { color: c.band }, data: outages.map(([a, b]) => [{ xAxis: a }, { xAxis: b }]) });

function themeButton() {
  const button = document.getElementById("theme"),
    label = () => {
      button.textContent = isDark() ? "Light" : "Dark";
    };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    label();
    drawAll();
  });
  label();
}

/* Draw anew when the window or the paper changes. */
function keepDrawn() {
  let resizing = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => charts.forEach((i) => i.plot.resize()));
  });
  let chosen;
  addEventListener("beforeprint", () => {
    chosen = root.dataset.theme;
    root.dataset.theme = "light";
    charts.forEach((i) => i.plot.resize({ width: 700 }));
    drawAll();
  });
  addEventListener("afterprint", () => {
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    charts.forEach((i) => i.plot.resize({ width: "auto" }));
    drawAll();
  });
}
