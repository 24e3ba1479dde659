"use strict";
// Training runs: curves laid over each other, and the details of one of them at a time.

const LINE_COLORS = [
  "#3b7dd8", "#e07b39", "#3fa66b", "#b05bb8", "#c9a227", "#d0485b", "#4aa3a8", "#8a6d4b",
  "#7a83d6", "#9ab43a", "#d877a9", "#6d7f8f",
];
const PHASES = {
  data: "#e07b39", forward: "#3b7dd8", backward: "#6f5bb8", reduce: "#d0485b", optimizer: "#3fa66b",
  evaluation: "#c9a227", checkpoint: "#4aa3a8", other: "#98a2ad",
};
const TIME = "time_s/";
const IOU = "iou_";
// Keys that have a chart of their own; what is left over is the model's.
const KNOWN = /^(loss|loss_.*|lr|lr\/.*|grad_norm|.*_per_s|step_time_s|peak_memory_gib|skipped_steps|epoch|step|time_s\/.*)$/;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function cell(content, className = "") {
  return make("td", {className}, content);
}

function table(headers, rows) {
  const head = make("tr", {}, ...headers.map(([text, className = ""]) => make("th", {className}, text)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

const digits = (value, count = 3) => (value === null || value === undefined ? "–" : value.toFixed(count));
const whole = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
const last = (values) => (values ? values.filter((v) => v !== null).at(-1) : undefined);
const best = (values) => (values ? Math.max(...values.filter((v) => v !== null)) : undefined);

// Exponential moving average whose weights add up to one from the first value on.
function smoothed(values, weight) {
  let sum = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

function meter(value, color) {
  const bar = make("span", {className: "meter"}, make("i"));
  if (color) bar.style.setProperty("--swatch", color);
  bar.firstChild.style.width = `${100 * (value || 0)}%`;
  return bar;
}

// The epoch of a step: between the two rows of training around it.
function epochAt(run, step) {
  const {step: steps, epoch} = run.train;
  if (!epoch) return null;
  const after = steps.findIndex((s) => s >= step);
  if (after < 0) return epoch.at(-1);
  if (after === 0) return epoch[0] * step / steps[0];
  const share = (step - steps[after - 1]) / (steps[after] - steps[after - 1]);
  return epoch[after - 1] + share * (epoch[after] - epoch[after - 1]);
}

class RunPage {
  constructor({runs, differences}) {
    this.runs = runs;
    this.differences = differences;
    this.single = runs.length === 1;
    this.chosen = runs[0];
    this.controls = Object.fromEntries(
      ["run", "x-axis", "smoothing", "log-scale"].map((id) => [id, document.getElementById(id)]),
    );
    const root = document.documentElement;
    root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      this.drawCharts();
      this.drawDetails();
    });
    runs.forEach((run, i) => this.controls.run.append(make("option", {value: i}, run.name)));
    document.getElementById("run-choice").hidden = this.single;
    this.controls.run.addEventListener("change", () => {
      this.chosen = runs[this.controls.run.value];
      this.drawCharts();
      this.drawDetails();
    });
    this.controls.smoothing.addEventListener("input", () => {
      const value = Number(this.controls.smoothing.value);
      document.getElementById("smoothing-value").textContent = value ? value.toFixed(2) : "off";
      this.drawCharts();
    });
    for (const id of ["x-axis", "log-scale"]) {
      this.controls[id].addEventListener("change", () => this.drawCharts());
    }
  }

  draw() {
    this.drawOverview();
    this.drawDifferences();
    this.drawEvents();
    this.drawStarts();
    this.drawConfigurations();
    this.drawDetails();
    return this.drawCharts();
  }

  // --- charts -------------------------------------------------------------------------------------

  x(run, columns) {
    if (this.controls["x-axis"].value === "step") return columns.step;
    return columns.epoch || columns.step.map((step) => epochAt(run, step));
  }

  // A line, and where it is smoothed its values behind it.
  lines(run, columns, key, {name, color, markers = false}) {
    const values = columns[key];
    if (!values) return [];
    const weight = columns === run.train ? Number(this.controls.smoothing.value) : 0;
    const few = values.length < 3;
    const line = {
      x: this.x(run, columns), y: smoothed(values, weight), name, type: "scatter",
      mode: markers || few ? "lines+markers" : "lines", line: {color, width: 1.8}, marker: {size: 5},
      hovertemplate: `%{y:.4g}<extra>${name}</extra>`, connectgaps: true,
    };
    if (!weight) return [line];
    return [{
      ...line, y: values, mode: "lines", line: {color, width: 1}, opacity: 0.25, hoverinfo: "skip",
      hovertemplate: undefined, showlegend: false,
    }, line];
  }

  overlaid(kind, key, options = {}) {
    return this.runs.flatMap((run) =>
      this.lines(run, run[kind], key, {name: run.name, color: run.color, ...options}));
  }

  // Several numbers of one run; colours by order.
  several(kind, keys, shown, options = {}) {
    const run = this.chosen;
    return keys.flatMap((key, i) => this.lines(run, run[kind], key, {
      name: shown(key), color: LINE_COLORS[i % LINE_COLORS.length], ...options,
    }));
  }

  keys(kind, test) {
    return Object.keys(this.chosen[kind]).filter(test);
  }

  split() {
    const run = this.chosen;
    return Object.keys(PHASES).filter((phase) => run.train[TIME + phase]).map((phase) => ({
      x: this.x(run, run.train), y: run.train[TIME + phase].map((s) => 1000 * (s || 0)), name: phase,
      type: "scatter", mode: "lines", stackgroup: "time", line: {width: 0.5, color: PHASES[phase]},
      hovertemplate: `%{y:.1f} ms<extra>${phase}</extra>`,
    }));
  }

  charts() {
    const {single} = this;
    const detail = single ? "" : this.chosen.name;
    const losses = this.keys("train", (key) => key.startsWith("loss_"));
    const rates = this.keys("train", (key) => key.startsWith("lr/"));
    const classes = this.keys("validation", (key) => key.startsWith(IOU));
    const log = this.controls["log-scale"].checked;
    return [
      {
        title: "Loss", log,
        traces: single && losses.length > 1
          ? this.several("train", ["loss", ...losses], (key) => key.replace("loss_", ""))
          : this.overlaid("train", "loss"),
      },
      {title: "Validation mIoU", traces: this.overlaid("validation", "mean_iou", {markers: true})},
      {title: "Validation accuracy", traces: this.overlaid("validation", "accuracy", {markers: true})},
      {
        title: "IoU by class", detail, wide: true,
        traces: this.several("validation", classes, (key) => key.slice(IOU.length), {markers: true}),
      },
      {
        title: "Learning rate",
        traces: single && rates.length
          ? this.several("train", rates, (key) => key.slice(3)) : this.overlaid("train", "lr"),
      },
      {title: "Gradient norm", log: true, detail: "before clipping", traces: this.overlaid("train", "grad_norm")},
      {title: "Points a second", traces: this.overlaid("train", "points_per_s")},
      {title: "Scenes a second", traces: this.overlaid("train", "scenes_per_s")},
      {title: "Time of a step", detail: `ms by phase${single ? "" : `, ${detail}`}`, traces: this.split()},
      {title: "Peak memory", detail: "GiB", traces: this.overlaid("train", "peak_memory_gib")},
    ];
  }

  // The model's numbers: codebook/<stage>/perplexity of all stages share a chart.
  furtherCharts() {
    const groups = new Map();
    for (const key of this.keys("train", (k) => !KNOWN.test(k))) {
      const parts = key.split("/");
      const group = parts.length < 3 ? parts[0] : `${parts[0]}, ${parts.at(-1)}`;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(key);
    }
    return [...groups].map(([title, keys]) => ({
      title,
      traces: keys.length === 1 ? this.overlaid("train", keys[0]) : this.several("train", keys,
        (key) => (key.split("/").length < 3 ? key.slice(title.length + 1) : key.split("/").slice(1, -1).join("/"))),
    }));
  }

  layout({log = false, legend, wide = false}) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: color("--line"), linecolor: color("--line"), zerolinecolor: color("--line"),
      color: color("--muted"),
    };
    return {
      margin: {l: 54, r: 14, t: 10, b: 34}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {size: 11, color: color("--text")}, hovermode: "x unified", showlegend: legend,
      hoverlabel: {bgcolor: color("--surface"), bordercolor: color("--line"), font: {color: color("--text")}},
      legend: wide
        ? {orientation: "v", font: {size: 11}}
        : {orientation: "h", y: -0.16, yanchor: "top", font: {size: 11}},
      xaxis: {...axis, title: {text: this.controls["x-axis"].value, standoff: 4}},
      yaxis: {...axis, type: log ? "log" : "linear", rangemode: log ? "normal" : "tozero"},
    };
  }

  async drawCharts() {
    document.body.dataset.busy = "yes";
    const further = this.furtherCharts();
    document.getElementById("further-section").hidden = !further.length;
    await this.fill(document.getElementById("charts"), this.charts());
    await this.fill(document.getElementById("further"), further);
    delete document.body.dataset.busy;
  }

  async fill(place, charts) {
    const shown = charts.filter(({traces}) => traces.length);
    [...place.querySelectorAll(".plot")].forEach((plot) => Plotly.purge(plot));
    const plots = shown.map(({title, detail, wide}) => {
      const heading = make("h3", {}, title);
      if (detail) heading.append(make("small", {}, detail));
      return make("article", {className: wide ? "card wide" : "card"}, heading, make("div", {className: "plot"}));
    });
    place.replaceChildren(...plots);
    if (!shown.length) place.append(make("p", {className: "note"}, "No step has been logged yet."));
    await Promise.all(shown.map((chart, i) => {
      const named = chart.traces.filter((trace) => trace.showlegend !== false).length;
      const layout = this.layout({...chart, legend: named > 1 && (chart.wide || named <= 12)});
      const config = {displayModeBar: false, responsive: true};
      return Plotly.newPlot(plots[i].querySelector(".plot"), chart.traces, layout, config);
    }));
  }

  // --- tables -------------------------------------------------------------------------------------

  drawOverview() {
    const rows = this.runs.map((run) => {
      const name = cell(run.name, "text swatched");
      name.style.setProperty("--swatch", run.color);
      const {validation, train} = run;
      return make("tr", {}, name, cell(run.state, "text"),
        cell(`${whole(run.step)} of ${whole(run.numSteps)}`), cell(digits(last(train.loss), 4)),
        cell(digits(best(validation.mean_iou))), cell(digits(last(validation.mean_iou))),
        cell(digits(last(validation.accuracy))), cell(digits(last(train.step_time_s))),
        cell(digits(best(train.peak_memory_gib), 2)), cell(run.starts.at(-1)?.device ?? "–", "text"));
    });
    document.getElementById("overview").replaceChildren(table([
      ["run", "text"], ["state", "text"], ["steps"], ["loss"], ["best mIoU"], ["last mIoU"],
      ["last accuracy"], ["s a step"], ["GiB"], ["device", "text"],
    ], rows));
  }

  drawDifferences() {
    const keys = Object.entries(this.differences);
    document.getElementById("differences-section").hidden = this.single;
    const rows = keys.map(([key, values]) =>
      make("tr", {}, cell(key, "text"), ...values.map((value) => cell(value, "text wrap"))));
    document.getElementById("differences").replaceChildren(keys.length
      ? table([["key", "text"], ...this.runs.map((run) => [run.name, "text"])], rows)
      : make("p", {className: "note"}, "The configurations are the same."));
  }

  drawEvents() {
    const rows = this.runs.flatMap((run) => [
      ...run.starts.slice(1).map((start) => [start.step, "resumed", start.started]),
      ...run.warnings.map((w) => [w.first, "warning",
        `${w.key}: in ${w.rows === 1 ? "1 logged row" : `${w.rows} logged rows, the last at step ${whole(w.last)}`}`]),
      ...run.events.map((event) => [event.step, event.kind, event.text]),
      ...run.problems.map((problem) => [null, "file", problem]),
    ].sort((a, b) => (a[0] ?? Infinity) - (b[0] ?? Infinity)).map(([step, kind, text]) => {
      const name = cell(run.name, "text swatched");
      name.style.setProperty("--swatch", run.color);
      return make("tr", {}, name, cell(whole(step)), cell(kind, "text"), cell(text, "text wrap"));
    }));
    document.getElementById("events").replaceChildren(rows.length
      ? table([["run", "text"], ["step"], ["what", "text"], ["", "text"]], rows)
      : make("p", {className: "note"}, "No resumes, no warnings, no skipped steps."));
  }

  drawStarts() {
    const rows = this.runs.flatMap((run) => run.starts.map((start) =>
      make("tr", {}, cell(run.name, "text"), cell(whole(start.step)), cell(start.started, "text"),
        cell(start.device, "text"), cell(start.versions, "text wrap"), cell(start.command, "text wrap"))));
    document.getElementById("starts").replaceChildren(rows.length
      ? table([["run", "text"], ["after step"], ["at", "text"], ["device", "text"], ["versions", "text"],
        ["command", "text"]], rows)
      : make("p", {className: "note"}, "There is no run.json."));
  }

  drawConfigurations() {
    document.getElementById("configurations").replaceChildren(...this.runs.map((run) =>
      make("details", {}, make("summary", {}, run.name), make("pre", {}, run.configText || "not there"))));
  }

  // --- the last evaluation of one run -------------------------------------------------------------

  drawDetails() {
    const {evaluation} = this.chosen;
    document.querySelectorAll(".of-run").forEach((element) => {
      element.textContent = this.single ? "" : this.chosen.name;
    });
    document.getElementById("evaluation").hidden = !evaluation;
    const note = document.getElementById("evaluation-note");
    const worst = evaluation?.worst ?? [];
    document.getElementById("worst-section").hidden = !worst.length;
    if (!evaluation) {
      note.textContent = "There is none yet.";
      return;
    }
    const step = evaluation.step === undefined ? "" : `After step ${whole(evaluation.step)}: `;
    note.textContent = `${step}${evaluation.protocol}; ${evaluation.rule}; split ${evaluation.split}, `
      + `${whole(evaluation.num_scenes)} scene${evaluation.num_scenes === 1 ? "" : "s"}, `
      + `${whole(evaluation.num_points)} points.`;
    this.drawClasses(evaluation);
    this.drawConfusion(evaluation);
    const rows = worst.map((scene) => make("tr", {},
      cell(scene.page ? make("a", {href: scene.page}, scene.scene_id) : scene.scene_id, "text"),
      this.scored(scene.mean_iou), cell(digits(scene.accuracy)), cell(whole(scene.num_points))));
    document.getElementById("worst").replaceChildren(
      table([["scene", "text"], ["mIoU"], ["accuracy"], ["points"]], rows),
      make("p", {className: "note"}, `${worst.length} of ${whole(evaluation.num_scored)}, each scored by `
        + "itself; the mean over scenes is not the score of the set."));
  }

  scored(value) {
    const shown = cell(digits(value));
    shown.append(meter(value));
    return shown;
  }

  drawClasses({classes, mean_iou: meanIou, mean_accuracy: meanAccuracy, accuracy, num_points: points}) {
    // Of the other runs whose last evaluation has the same classes, their IoUs.
    const others = this.runs.filter((run) => run !== this.chosen && run.evaluation
      && run.evaluation.classes.map((c) => c.name).join("\n") === classes.map((c) => c.name).join("\n"));
    const rows = classes.map((entry, i) => make("tr", {}, cell(entry.name, "text"), this.scored(entry.iou),
      ...others.map((run) => cell(digits(run.evaluation.classes[i].iou))),
      cell(digits(entry.accuracy)), cell(whole(entry.num_points))));
    const total = make("tr", {className: "total"}, cell("mean", "text"), this.scored(meanIou),
      ...others.map((run) => cell(digits(run.evaluation.mean_iou))), cell(digits(meanAccuracy)), cell(""));
    const all = make("tr", {className: "total"}, cell("all points", "text"), cell(""),
      ...others.map(() => cell("")), cell(digits(accuracy)), cell(whole(points)));
    document.getElementById("classes").replaceChildren(table([
      ["class", "text"], ["IoU"], ...others.map((run) => [`IoU, ${run.name}`]), ["accuracy"], ["points"],
    ], [...rows, total, all]));
  }

  drawConfusion({confusion, confusion_columns: columns, classes}) {
    const sums = confusion.map((row) => row.reduce((a, b) => a + b, 0));
    const hasNone = confusion.some((row) => row.at(-1) > 0);
    const kept = hasNone ? columns.length : columns.length - 1;
    const share = confusion.map((row, i) =>
      row.slice(0, kept).map((count) => (sums[i] ? 100 * count / sums[i] : null)));
    const layout = this.layout({legend: false});
    const numbered = columns.length <= 30;
    const surface = getComputedStyle(document.documentElement).getPropertyValue("--surface").trim();
    Plotly.react(document.querySelector("#confusion .plot"), [{
      type: "heatmap", z: share, x: columns.slice(0, kept), y: classes.map((entry) => entry.name),
      customdata: confusion, colorscale: [[0, surface], [1, "#2f6fde"]], zmin: 0, zmax: 100, showscale: false,
      text: share.map((row) => row.map((value) => (value >= 0.5 ? value.toFixed(0) : ""))),
      texttemplate: numbered ? "%{text}" : "", xgap: 1, ygap: 1,
      hovertemplate: "true %{y}<br>predicted %{x}<br>%{z:.2f} % of the class<br>%{customdata} points<extra></extra>",
    }], {
      ...layout, hovermode: "closest", margin: {l: 60, r: 14, t: 8, b: 60},
      xaxis: {
        ...layout.xaxis, type: "category", title: {text: ""}, tickangle: -45, showgrid: false, automargin: true,
      },
      yaxis: {
        ...layout.yaxis, type: "category", autorange: "reversed",
        rangemode: "normal", showgrid: false, automargin: true,
      },
    }, {displayModeBar: false, responsive: true});
  }
}

async function main() {
  try {
    await loadPlotly();
    window.page = new RunPage(JSON.parse(document.getElementById("runs").textContent));
    document.getElementById("notice").hidden = true;
    await window.page.draw();
    document.body.dataset.ready = "yes";
  } catch (error) {
    const notice = document.getElementById("notice");
    notice.hidden = false;
    notice.textContent = `This page cannot be shown: ${error.message}`;
    document.body.dataset.failed = error.message;
  }
}

main();
